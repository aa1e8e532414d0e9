package policydeny

import (
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/sdk"
)

// options is the table of a rule base.
type options struct {
	Default      string                            `toml:"default"`
	LogDefault   bool                              `toml:"log-default"`
	Policies     []policyOptions                   `toml:"policy"`
	Addresses    map[string][]string               `toml:"addresses"`
	Applications map[string]application.Definition `toml:"applications"`
}

// policyOptions is one policy. A list that is nil is absent; an empty one is there.
type policyOptions struct {
	Name                string              `toml:"name"`
	From                []string            `toml:"from"`
	To                  []string            `toml:"to"`
	Source              []string            `toml:"source"`
	SourceExcluded      bool                `toml:"source-excluded"`
	Destination         []string            `toml:"destination"`
	DestinationExcluded bool                `toml:"destination-excluded"`
	Application         []string            `toml:"application"`
	Then                string              `toml:"then"`
	Log                 []string            `toml:"log"`
	Timeout             application.Timeout `toml:"timeout"`
	Enabled             *bool               `toml:"enabled"` // nil = true
}

func (p *policyOptions) enabled() bool { return p.Enabled == nil || *p.Enabled }

// defaults returns the options of an empty table.
func defaults() options { return options{Default: thenDeny, LogDefault: true} }

// decode reads the table. What the types cannot check is checked by [compile].
func decode(cfg sdk.Config) options {
	o := defaults()
	cfg.Decode(&o)
	return o
}

// trackedConfig is the hook's table, and whether a mistake was recorded in it: what a mistake has left out makes policies
// look wider or narrower than they are meant.
type trackedConfig struct {
	sdk.Config
	mistaken bool
}

func (c *trackedConfig) Errorf(key, format string, args ...any) {
	c.mistaken = true
	c.Config.Errorf(key, format, args...)
}

func (c *trackedConfig) Decode(into any) bool {
	ok := c.Config.Decode(into)
	c.mistaken = c.mistaken || !ok
	return ok
}

// Words of the configuration language.
const (
	thenPermit = "permit"
	thenDeny   = "deny"
	thenReject = "reject"

	logInit  = "session-init"
	logClose = "session-close"

	wordAny     = "any"
	wordAnyIPv4 = "any-ipv4"
	wordAnyIPv6 = "any-ipv6"
)
