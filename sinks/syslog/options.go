package syslog

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// Limits of the options.
const (
	minTimeout = 100 * time.Millisecond
	maxTimeout = 10 * time.Minute
	maxWindow  = 65536

	maxMaxRefusals = 1000

	maxAddresses = 16
)

// table is the table of a syslog sink.
type table struct {
	Address  []string `toml:"address"`
	Strategy strategy `toml:"strategy"`
	Framing  framing  `toml:"framing"`

	Format           string     `toml:"format"`
	Profile          string     `toml:"profile"`
	Platform         uint32     `toml:"platform"`
	SDID             string     `toml:"sd_id"`
	StructuredFilter bool       `toml:"structured_filter"`
	Sequence         bool       `toml:"sequence"`
	Text             bool       `toml:"text"`
	Priority         priorities `toml:"priority"`

	TLS tlsOptions `toml:"tls"`

	Window         int           `toml:"window"`
	MaxRefusals    int           `toml:"max_refusals"`
	ConnectTimeout time.Duration `toml:"connect_timeout"`
	WriteTimeout   time.Duration `toml:"write_timeout"`
	CloseTimeout   time.Duration `toml:"close_timeout"`
	Keepalive      time.Duration `toml:"keepalive"`
	UserTimeout    time.Duration `toml:"user_timeout"`
	ReturnAfter    time.Duration `toml:"return_after"`
}

func defaults() table {
	return table{
		Format:         format.RFC5424,
		Profile:        format.Junos20,
		Platform:       format.DefaultPlatform,
		TLS:            tlsOptions{MinVersion: tls12},
		Window:         1000,
		MaxRefusals:    3,
		ConnectTimeout: 10 * time.Second,
		WriteTimeout:   30 * time.Second,
		CloseTimeout:   5 * time.Second,
		Keepalive:      10 * time.Second,
		UserTimeout:    20 * time.Second,
		ReturnAfter:    30 * time.Second,
	}
}

// tlsOptions is the table tls. It always asks for TLS of the addresses that are tls:// or relps://, and of no other.
type tlsOptions struct {
	options.TLS
	MinVersion tlsVersion `toml:"min_version"`
}

// tlsVersion is the lowest version that is spoken.
type tlsVersion uint16

const (
	tls12 tlsVersion = tls.VersionTLS12
	tls13 tlsVersion = tls.VersionTLS13
)

func (v *tlsVersion) UnmarshalText(text []byte) error {
	switch string(text) {
	case "1.2":
		*v = tls12
	case "1.3":
		*v = tls13
	default:
		return fmt.Errorf(`want "1.2" or "1.3", got %q`, text)
	}
	return nil
}

// priorities is the table priority: nil is what devices send.
type priorities struct {
	SessionOpen  *format.Priority `toml:"session-open"`
	SessionClose *format.Priority `toml:"session-close"`
	PolicyDeny   *format.Priority `toml:"policy-deny"`
	ScreenDrop   *format.Priority `toml:"screen-drop"`
	FilterLog    *format.Priority `toml:"filter-log"`
	Loss         *format.Priority `toml:"loss"`
}

func (p *priorities) byKind() map[event.Kind]format.Priority {
	set := make(map[event.Kind]format.Priority)
	for k, v := range map[event.Kind]*format.Priority{
		event.SessionOpen: p.SessionOpen, event.SessionClose: p.SessionClose, event.PolicyDeny: p.PolicyDeny,
		event.ScreenDrop: p.ScreenDrop, event.FilterLog: p.FilterLog, event.Loss: p.Loss,
	} {
		if v != nil {
			set[k] = *v
		}
	}
	return set
}

// strategy says what several addresses are for.
type strategy uint8

const (
	failover strategy = iota // the first that works
	all                      // every one
)

func (s *strategy) UnmarshalText(text []byte) error {
	switch string(text) {
	case "failover":
		*s = failover
	case "all":
		*s = all
	default:
		return fmt.Errorf(`want "failover" or "all", got %q`, text)
	}
	return nil
}

func (s strategy) String() string { return [...]string{"failover", "all"}[s] }

// framing says where a message ends on a byte stream.
type framing uint8

const (
	octetCounting framing = iota // RFC 6587, 3.4.1; the only one of RFC 5425
	newline                      // RFC 6587, 3.4.2
)

func (f *framing) UnmarshalText(text []byte) error {
	switch string(text) {
	case "octet-counting":
		*f = octetCounting
	case "newline":
		*f = newline
	default:
		return fmt.Errorf(`want "octet-counting" or "newline", got %q`, text)
	}
	return nil
}

// check records every mistake in the values, and returns what is made of them.
func (t *table) check(cfg sdk.Config, env sdk.Env) (addresses []address, formats format.Options, good bool) {
	c := options.Check(cfg)
	addresses = checkAddresses(c, t.Address)
	t.checkNumbers(cfg, c)
	t.checkTLS(cfg, c, addresses)
	formats = t.formatOptions(c, env)
	return addresses, formats, c.OK()
}

// checkAddresses returns the addresses that can be read.
func checkAddresses(c *options.Checker, texts []string) (list []address) {
	switch {
	case len(texts) == 0:
		c.Mistake(true, "address", `an address is missing: "udp://host", "tcp://host:port", "tls://host", "relp://host:port", `+
			`"relps://host:port" or "unixgram:///dev/log"`)
	case len(texts) > maxAddresses:
		c.Mistake(true, "address", "want at most %d addresses, got %d", maxAddresses, len(texts))
	}
	for i, text := range texts {
		key := "address"
		if len(texts) > 1 {
			key = keypath.Element("address", i)
		}
		a, err := parseAddress(text)
		if err != nil {
			c.Mistake(true, key, "%v", err)
			continue
		}
		for _, other := range list {
			if a == other {
				c.Mistake(true, key, "%q is listed twice", text)
			}
		}
		list = append(list, a)
	}
	return list
}

// checkNumbers checks times and counts.
func (t *table) checkNumbers(cfg sdk.Config, c *options.Checker) {
	c.Duration(t.ConnectTimeout, "connect_timeout", minTimeout, maxTimeout)
	c.Duration(t.WriteTimeout, "write_timeout", minTimeout, maxTimeout)
	c.Duration(t.CloseTimeout, "close_timeout", minTimeout, maxTimeout)
	c.Duration(t.UserTimeout, "user_timeout", minTimeout, maxTimeout)
	c.Duration(t.ReturnAfter, "return_after", minTimeout, maxTimeout)
	if t.Keepalive != 0 { // off
		c.Duration(t.Keepalive, "keepalive", 3*time.Second, maxTimeout)
		if t.Keepalive >= t.UserTimeout && t.UserTimeout >= minTimeout {
			cfg.Warnf("keepalive", "the first probe comes after user_timeout (%v): an idle connection whose peer is gone is noticed after "+
				"%v, want keepalive below user_timeout", t.UserTimeout, t.Keepalive+t.Keepalive/keepaliveProbes)
		}
	}
	c.Mistake(t.MaxRefusals < 0 || t.MaxRefusals > maxMaxRefusals, "max_refusals", "want 1 to %d, or 0 to give up no record, got %d",
		maxMaxRefusals, t.MaxRefusals)
	c.Mistake(t.Window < 1 || t.Window > maxWindow, "window", "want 1 to %d messages, got %d", maxWindow, t.Window)
}

// warnIdle warns of options that nothing reads beside the others.
func (t *table) warnIdle(cfg sdk.Config, addresses []address) {
	keys := options.KeysOf(cfg)
	var streams, relp, connections bool
	for _, a := range addresses {
		switch a.scheme {
		case "udp", "unixgram":
			continue
		case "relp", "relps":
			relp = true
		default:
			streams = true
		}
		connections = true
	}
	if !streams {
		keys.Idle(cfg, "no address is tcp:// or tls://", "framing")
	}
	if !relp {
		keys.Idle(cfg, "no address is relp:// or relps://", "window")
	}
	if !connections {
		keys.Idle(cfg, "no address makes a TCP connection", "keepalive", "user_timeout", "max_refusals")
	}
	if len(addresses) == 1 {
		keys.Idle(cfg, "there is one address", "strategy", "return_after")
	}
	switch t.Format {
	case format.JSON:
		keys.Idle(cfg, `format "json" has no profile and no SD-ID, and its filter logs are objects like all others`,
			"profile", "platform", "sd_id", "structured_filter", "text")
	case format.RFC3164:
		keys.Idle(cfg, `format "rfc3164" has no structured data`, "platform", "sd_id", "structured_filter", "text")
	}
}

// checkTLS checks the table tls, which may be there for no address.
func (t *table) checkTLS(cfg sdk.Config, c *options.Checker, addresses []address) {
	if !slices.ContainsFunc(addresses, address.encrypted) && t.TLS != defaults().TLS {
		cfg.Warnf("tls", "no address is tls:// or relps://: this table does nothing")
	}
	if c.TLS(&t.TLS.TLS, "tls") {
		c.TLSFiles(&t.TLS.TLS, "tls")
	}
}

// formatOptions returns how messages are formatted.
func (t *table) formatOptions(c *options.Checker, env sdk.Env) format.Options {
	f := format.Options{
		Format: t.Format, Profile: t.Profile, Platform: t.Platform, SDID: t.SDID, Hostname: env.Hostname,
		Priorities: t.Priority.byKind(), Sequence: t.Sequence, Text: t.Text, StructuredFilter: t.StructuredFilter,
		Envelope: t.Format == format.JSON,
	}
	switch t.Format {
	case format.RFC5424, format.RFC3164, format.JSON:
	default:
		c.Mistake(true, "format", "unknown %q; %s", t.Format, spelling.Hint(t.Format, "formats", []string{format.RFC5424, format.RFC3164, format.JSON}))
		return f
	}
	if t.Platform == 0 {
		c.Mistake(true, "platform", "want the last number of the SD-ID, %d for a vSRX", format.DefaultPlatform)
	}
	_, err := format.New(f)
	var bad *format.OptionError
	switch {
	case err == nil:
	case errors.As(err, &bad) && bad.Option != "hostname":
		c.Mistake(true, bad.Option, "%s", bad.Reason)
	default: // the host's name is not a key of this table
		c.Mistake(true, "", "%v", err)
	}
	return f
}
