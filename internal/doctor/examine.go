// Package doctor tells people and scripts what a machine lacks for pipelined, and the commands that mend it: what the sources find out
// about it, and what holds for all of them.
package doctor

import (
	"io/fs"
	"math"
	"path"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/memory"
	"github.com/rtflow/pipelined/sources/afpacket"
	"github.com/rtflow/pipelined/sources/conntrack"
	"github.com/rtflow/pipelined/sources/nflog"
	"github.com/rtflow/pipelined/sources/xdp"
)

// Everything finds out what each live source could do with the defaults of its options, those that read interfaces on the ones named.
func Everything(m *machine.Machine, interfaces ...string) []machine.Finding {
	findings := conntrack.Examine(m)
	findings = append(findings, nflog.Examine(m)...)
	return append(findings, Interfaces(m, interfaces...)...)
}

// Interfaces finds out what the sources that read interfaces could do with the ones named.
func Interfaces(m *machine.Machine, names ...string) []machine.Finding {
	return append(afpacket.Examine(m, names...), xdp.Examine(m, names...)...)
}

// Cards returns the names of the interfaces that have a device, which bridges, tunnels and pairs of virtual interfaces have not.
func Cards(m *machine.Machine) (names []string) {
	devices, _ := fs.Glob(m.Root, "sys/class/net/*/device") // the pattern is right
	for _, device := range devices {
		names = append(names, path.Base(path.Dir(device)))
	}
	return names
}

// littleMemory is how much memory the daemon takes with its defaults and a few sinks, roughly.
const littleMemory = 256 << 20

// General finds out what holds for every source.
func General(m *machine.Machine) []machine.Finding {
	p := &machine.Part{Name: "machine"}
	if release := m.Release(); release != "" {
		p.OK("kernel", "Linux %s", release)
	} else {
		p.Unknown("kernel", "uname -r", "its release is not known")
	}
	switch left := memory.OfSystem(m.Root); {
	case left.Bytes == math.MaxInt64:
		p.Unknown("memory", "free -m", "how much is left is not known")
	case left.Bytes < littleMemory:
		p.Warn("memory", "", "%d MiB are left (%s); fewer sessions, or a smaller replay of the sinks, take less", left.Bytes>>20, left.Limit)
	default:
		p.OK("memory", "%d MiB are left (%s)", left.Bytes>>20, left.Limit)
	}
	if m.UserNamespace() {
		p.Warn("user namespace", "", "the process is not in the first one: its capabilities do not do for AF_XDP, and not for large receive buffers")
	} else {
		p.OK("user namespace", "the first one")
	}
	if reason := m.SettingsReadOnly(); reason != "" {
		p.OK("settings", "a daemon cannot change those of the kernel: %s; sysctl outside of it can", reason)
	} else {
		p.OK("settings", "nothing is known that keeps a daemon from changing those of the kernel")
	}
	return p.Findings
}
