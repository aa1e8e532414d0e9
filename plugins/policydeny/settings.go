package policydeny

import "github.com/rtflow/pipelined/core/application"

// settings is the hook's table as the file writes it.
type settings struct {
	Default      string                            `toml:"default"`
	LogDefault   bool                              `toml:"log-default"`
	Policies     []policySettings                  `toml:"policy"`
	Addresses    map[string][]string               `toml:"addresses"`
	Applications map[string]application.Definition `toml:"applications"`
}

// policySettings is one policy as the file writes it. A list that is nil is absent; an empty one is there.
type policySettings struct {
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

func (p *policySettings) enabled() bool { return p.Enabled == nil || *p.Enabled }

// defaults returns the settings of an empty table.
func defaults() settings {
	return settings{Default: thenDeny, LogDefault: true}
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
