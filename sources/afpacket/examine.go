package afpacket

import "github.com/rtflow/pipelined/internal/machine"

// Examine finds out whether packet sockets can read these interfaces.
func Examine(m *machine.Machine, interfaces ...string) []machine.Finding {
	return examine(m, interfaces, false)
}

// examine finds out whether these interfaces could be read. needed says that a configuration has them.
func examine(m *machine.Machine, interfaces []string, needed bool) []machine.Finding {
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
	return findings
}
