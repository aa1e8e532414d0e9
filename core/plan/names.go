package plan

import (
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk/event"
)

// FirstGeneration is the generation of the names of a plan, unless there are names of an earlier run.
const FirstGeneration = 1

// Names returns the names for the ids that records of this configuration carry. It opens nothing.
func (p *Plan) Names() *event.Names {
	b := hook.NewNameBuilder()
	p.Hooks(p.File.Pipeline.Hooks, p.HookEnv(1, b))
	return p.NamesOf(b)
}

// NamesOf returns the same, with the names that hooks have given to a builder.
func (p *Plan) NamesOf(b *hook.NameBuilder) *event.Names {
	n := &event.Names{Generation: FirstGeneration, Applications: p.Apps.Names()}
	n.Zones, n.Interfaces = p.Zones.NameMaps()
	b.Fill(n)
	return n
}
