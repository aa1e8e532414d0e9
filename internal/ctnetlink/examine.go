package ctnetlink

import "github.com/rtflow/pipelined/internal/machine"

// Examine adds to p whether this process may ask the kernel about its connections, and whether the kernel can answer. It asks nothing.
func Examine(m *machine.Machine, p *machine.Part) {
	m.Permission(p, machine.NetAdmin)
	m.NeedsModule(p, "nf_conntrack_netlink", "ctnetlink_get_conntrack", "ctnetlink")
}
