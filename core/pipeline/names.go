package pipeline

import (
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk/event"
)

// Names returns the names for the ids that records of this configuration carry. It opens nothing.
func (p *Plan) Names() *event.Names {
	b := hook.NewNameBuilder()
	p.hooks(p.file.Pipeline.Hooks, p.hookEnv(1, b))
	return p.names(b)
}

func (p *Plan) names(b *hook.NameBuilder) *event.Names {
	n := &event.Names{Generation: generation, Applications: p.apps.Names()}
	n.Zones, n.Interfaces = p.zones.NameMaps()
	b.Fill(n)
	return n
}

// Hostname returns the name of this node in log lines.
func (p *Plan) Hostname() string { return p.host }
