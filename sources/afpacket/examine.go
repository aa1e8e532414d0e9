package afpacket

import (
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/memory"
)

// Examine finds out whether packet sockets can read these interfaces.
func Examine(m *machine.Machine, interfaces ...string) []machine.Finding {
	return examine(m, interfaces, nil, false)
}

// examine finds out whether these interfaces could be read. needed says that a configuration has them.
func examine(m *machine.Machine, interfaces, optional []string, needed bool) []machine.Finding {
	p := &machine.Part{Name: "AF_PACKET", Needed: needed}
	m.Kernel(p, 4, 20)
	m.Protocol(p, "PACKET", "packet sockets (CONFIG_PACKET)")
	m.Permission(p, machine.NetRaw)
	findings := p.Findings
	for _, name := range interfaces {
		part := machine.LinkPart(name, needed)
		part.Link(name)
		findings = append(findings, part.Findings...)
	}
	for _, name := range optional {
		part := machine.LinkPart(name, false)
		part.OptionalLink(name)
		findings = append(findings, part.Findings...)
	}
	return findings
}

// examineConfig finds out whether a source of this configuration could read its interfaces.
func examineConfig(m *machine.Machine, c Config) []machine.Finding {
	var names, optional []string
	for _, i := range c.Interfaces {
		if i.Optional {
			optional = append(optional, i.Name)
		} else {
			names = append(names, i.Name)
		}
	}
	p := &machine.Part{Name: "AF_PACKET"}
	if err := c.checkMemory(memory.OfSystem(m.Root)); err != nil {
		p.Warn("memory", "", "%v: a smaller ring, or fewer workers, take less", err) // a daemon that runs may have it already
	} else {
		p.OK("memory", "the rings take %d MiB", c.rings()>>20)
	}
	return append(examine(m, names, optional, true), p.Findings...)
}
