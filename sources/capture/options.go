package capture

import "github.com/rtflow/pipelined/sdk"

// options is the table of the source.
type options struct {
	File      string `toml:"file"`
	Interface string `toml:"interface"`
}

// decode reads the table and records every mistake in it.
func decode(cfg sdk.Config) options {
	var o options
	if cfg.Decode(&o) && o.File == "" {
		cfg.Errorf("file", "the path of the capture is missing")
	}
	return o
}
