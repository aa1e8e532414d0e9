package options

import (
	"errors"
	"strconv"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
)

// Format is how records become bytes.
type Format struct {
	Format   string `toml:"format"`
	Profile  string `toml:"profile"`
	Platform uint32 `toml:"platform"`
	Text     bool   `toml:"text"`
	Colour   bool   `toml:"-"` // depends on the destination, not on the table
}

// DefaultFormat returns the defaults, with that format.
func DefaultFormat(name string) Format {
	return Format{Format: name, Profile: format.Junos20, Platform: format.DefaultPlatform}
}

// Encoder makes the encoder, or records a mistake at the option that is to blame and returns nil.
func (o Format) Encoder(cfg sdk.Config, env sdk.Env) format.Encoder {
	if o.Platform == 0 {
		cfg.Errorf("platform", "want the last number of the SD-ID, %d for a vSRX", format.DefaultPlatform)
		return nil
	}
	enc, err := format.New(format.Options{
		Format: o.Format, Profile: o.Profile, Platform: o.Platform, Text: o.Text, Colour: o.Colour, Hostname: env.Hostname,
	})
	if err == nil {
		o.idle(cfg)
		return enc
	}
	var bad *format.OptionError
	if errors.As(err, &bad) && bad.Option != "hostname" {
		cfg.Errorf(bad.Option, "%s", bad.Reason)
	} else { // the host's name is not a key of this table
		cfg.Errorf("", "%v", err)
	}
	return nil
}

// idle warns of options that the format does not read.
func (o Format) idle(cfg sdk.Config) {
	switch o.Format {
	case format.JSON, format.Frames, format.Text:
		KeysOf(cfg).Idle(cfg, "format "+strconv.Quote(o.Format)+" has no profile, no SD-ID and no text", "profile", "platform", "text")
	case format.RFC3164:
		KeysOf(cfg).Idle(cfg, "format "+strconv.Quote(o.Format)+" has no SD-ID and is all text", "platform", "text")
	}
}
