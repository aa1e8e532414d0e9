package plan

import (
	"slices"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/machine"
)

// Examine finds out whether the machine has what the chained sources need. It changes nothing.
func (p *Plan) Examine(m *machine.Machine) (findings []machine.Finding) {
	for _, s := range p.Sources {
		chained := slices.ContainsFunc(p.File.Pipeline.Sources, func(c *config.Component) bool { return c.Name == s.Name })
		if chained && s.Examine != nil {
			findings = append(findings, s.Examine(m)...)
		}
	}
	return findings
}
