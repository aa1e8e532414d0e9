package syslog

import (
	_ "embed"
	"errors"
	"io/fs"
	"time"

	"github.com/rtflow/pipelined/internal/keypath"
	sdkoptions "github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
)

//go:embed sample.toml
var sample string

// Plugin returns the sink "syslog".
func Plugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:      "syslog",
		Summary:   "sends to syslog collectors: UDP, TCP, TLS, RELP, Unix datagrams",
		Sample:    sample,
		Configure: newSink,
	}
}

// Limits of the options.
const (
	minTimeout = 100 * time.Millisecond
	maxTimeout = 10 * time.Minute
	maxWindow  = 65536

	maxMaxRefusals = 1000

	maxAddresses = 16
)

func newSink(cfg sdk.Config, env sdk.Env) sdk.Sink {
	o := defaults()
	read := cfg.Decode(&o) // what could be read is checked all the same, so that one run shows every mistake
	c := checker{cfg: cfg, good: read}
	addresses := c.addresses(o.Address)
	c.times(&o)
	c.tls(&o.TLS, addresses)
	formats := c.format(&o, env)
	if !c.good {
		return nil
	}
	c.warnIdle(&o, addresses)
	warn := env.Warn
	if warn == nil {
		warn = func(string, ...any) {}
	}
	k := &Sink{
		format: formats, strategy: o.Strategy, returnAfter: o.ReturnAfter, warn: warn,
		limits: limits{
			connect: o.ConnectTimeout, write: o.WriteTimeout, close: o.CloseTimeout, keepalive: o.Keepalive, userTimeout: o.UserTimeout,
		},
	}
	for _, a := range addresses {
		k.links = append(k.links, &link{
			address: a, dialer: k.dialer(a, &o), counts: &k.counts, shown: AddressStatus{Address: a.String(), State: Standby},
			maxRefusals: o.MaxRefusals, search: search{most: o.MaxRefusals},
			stall: stall{within: o.UserTimeout, brief: o.Strategy == failover && len(addresses) > 1},
		})
	}
	return k
}

func (k *Sink) dialer(a address, o *options) dialer {
	over := tcpDialer{address: a, limits: k.limits}
	if a.encrypted() {
		over.tls = &tlsFiles{options: o.TLS}
	}
	switch a.scheme {
	case "udp", "unixgram":
		return &datagramDialer{address: a, limits: k.limits, counts: &k.counts, lookup: lookupHost}
	case "relp", "relps":
		return &relpDialer{tcpDialer: over, window: o.Window}
	default:
		return &streamDialer{tcpDialer: over, framing: o.Framing}
	}
}

// checker records every mistake in the values.
type checker struct {
	cfg  sdk.Config
	good bool
}

func (c *checker) mistake(key, form string, args ...any) {
	c.cfg.Errorf(key, form, args...)
	c.good = false
}

func (c *checker) addresses(texts []string) (list []address) {
	switch {
	case len(texts) == 0:
		c.mistake("address", `an address is missing: "udp://host", "tcp://host:port", "tls://host", "relp://host:port", `+
			`"relps://host:port" or "unixgram:///dev/log"`)
	case len(texts) > maxAddresses:
		c.mistake("address", "want at most %d addresses, got %d", maxAddresses, len(texts))
	}
	for i, text := range texts {
		key := "address"
		if len(texts) > 1 {
			key = keypath.Element("address", i)
		}
		a, err := parseAddress(text)
		if err != nil {
			c.mistake(key, "%v", err)
			continue
		}
		for _, other := range list {
			if a == other {
				c.mistake(key, "%q is listed twice", text)
			}
		}
		list = append(list, a)
	}
	return list
}

func (c *checker) times(o *options) {
	within := func(key string, d, least time.Duration) {
		if d < least || d > maxTimeout {
			c.mistake(key, "want %v to %v, got %v", least, maxTimeout, d)
		}
	}
	within("connect_timeout", o.ConnectTimeout, minTimeout)
	within("write_timeout", o.WriteTimeout, minTimeout)
	within("close_timeout", o.CloseTimeout, minTimeout)
	within("user_timeout", o.UserTimeout, minTimeout)
	within("return_after", o.ReturnAfter, minTimeout)
	if o.Keepalive != 0 { // off
		within("keepalive", o.Keepalive, 3*time.Second)
		if o.Keepalive >= o.UserTimeout && o.UserTimeout >= minTimeout {
			c.cfg.Warnf("keepalive", "the first probe comes after user_timeout (%v): an idle connection whose peer is gone is noticed after "+
				"%v, want keepalive below user_timeout", o.UserTimeout, o.Keepalive+o.Keepalive/keepaliveProbes)
		}
	}
	if o.MaxRefusals < 0 || o.MaxRefusals > maxMaxRefusals {
		c.mistake("max_refusals", "want 1 to %d, or 0 to give up no record, got %d", maxMaxRefusals, o.MaxRefusals)
	}
	if o.Window < 1 || o.Window > maxWindow {
		c.mistake("window", "want 1 to %d messages, got %d", maxWindow, o.Window)
	}
}

// warnIdle warns of options that nothing reads beside the others.
func (c *checker) warnIdle(o *options, addresses []address) {
	keys := sdkoptions.KeysOf(c.cfg)
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
		keys.Idle(c.cfg, "no address is tcp:// or tls://", "framing")
	}
	if !relp {
		keys.Idle(c.cfg, "no address is relp:// or relps://", "window")
	}
	if !connections {
		keys.Idle(c.cfg, "no address makes a TCP connection", "keepalive", "user_timeout", "max_refusals")
	}
	if len(addresses) == 1 {
		keys.Idle(c.cfg, "there is one address", "strategy", "return_after")
	}
	switch o.Format {
	case format.JSON:
		keys.Idle(c.cfg, `format "json" has no profile and no SD-ID, and its filter logs are objects like all others`,
			"profile", "platform", "sd_id", "structured_filter", "text")
	case format.RFC3164:
		keys.Idle(c.cfg, `format "rfc3164" has no structured data`, "platform", "sd_id", "structured_filter", "text")
	}
}

// tls looks at the files as far as they can be read: a missing file may be there when the daemon runs, or be readable to it.
func (c *checker) tls(o *tlsOptions, addresses []address) {
	used := false
	for _, a := range addresses {
		used = used || a.encrypted()
	}
	if !used && *o != (tlsOptions{MinVersion: tls12}) {
		c.cfg.Warnf("tls", "no address is tls:// or relps://: this table does nothing")
	}
	if (o.Cert == "") != (o.Key == "") {
		c.mistake("tls", "cert and key go together: one of them is missing")
		return
	}
	var bad *fileError
	_, _, err := o.load()
	switch {
	case !errors.As(err, &bad):
	case errors.Is(err, fs.ErrNotExist):
		c.cfg.Warnf("tls."+bad.key, "%v; nothing is sent until it is there", bad.err)
	case errors.Is(err, fs.ErrPermission):
		c.cfg.Warnf("tls."+bad.key, "%v; the daemon's user must be able to read it", bad.err)
	default:
		c.mistake("tls."+bad.key, "%v", bad.err)
	}
}

func (c *checker) format(o *options, env sdk.Env) format.Options {
	f := format.Options{
		Format: o.Format, Profile: o.Profile, Platform: o.Platform, SDID: o.SDID, Hostname: env.Hostname,
		Priorities: o.Priority.byKind(), Sequence: o.Sequence, Text: o.Text, StructuredFilter: o.StructuredFilter,
		Envelope: o.Format == format.JSON,
	}
	switch o.Format {
	case format.RFC5424, format.RFC3164, format.JSON:
	default:
		c.mistake("format", "unknown %q; %s", o.Format, spelling.Hint(o.Format, "formats", []string{format.RFC5424, format.RFC3164, format.JSON}))
		return f
	}
	if o.Platform == 0 {
		c.mistake("platform", "want the last number of the SD-ID, %d for a vSRX", format.DefaultPlatform)
	}
	_, err := format.New(f)
	var bad *format.OptionError
	switch {
	case err == nil:
	case errors.As(err, &bad) && bad.Option != "hostname":
		c.mistake(bad.Option, "%s", bad.Reason)
	default: // the host's name is not a key of this table
		c.mistake("", "%v", err)
	}
	return f
}
