package machine

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Capability is a capability of a process.
type Capability uint

// Capabilities that sources need.
const (
	NetAdmin Capability = unix.CAP_NET_ADMIN
	NetRaw   Capability = unix.CAP_NET_RAW
	IPCLock  Capability = unix.CAP_IPC_LOCK
	BPF      Capability = unix.CAP_BPF
	Perfmon  Capability = unix.CAP_PERFMON
)

// String returns the name that setcap and systemd know.
func (c Capability) String() string {
	switch c {
	case NetAdmin:
		return "CAP_NET_ADMIN"
	case NetRaw:
		return "CAP_NET_RAW"
	case IPCLock:
		return "CAP_IPC_LOCK"
	case BPF:
		return "CAP_BPF"
	case Perfmon:
		return "CAP_PERFMON"
	}
	return fmt.Sprintf("capability %d", uint(c))
}

// Capabilities is a set of them.
type Capabilities uint64

// Has reports whether a capability is in the set. CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON.
func (s Capabilities) Has(c Capability) bool {
	return s>>c&1 != 0 || (c == BPF || c == Perfmon) && s>>unix.CAP_SYS_ADMIN&1 != 0
}

// Missing returns the names of those that are not in the set.
func (s Capabilities) Missing(needed ...Capability) (names []string) {
	for _, c := range needed {
		if !s.Has(c) {
			names = append(names, c.String())
		}
	}
	return names
}

// Effective returns the effective capabilities of the calling thread.
func Effective() (Capabilities, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // of capabilities 0 to 31 and 32 to 63
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return Capabilities(sets[1].Effective)<<32 | Capabilities(sets[0].Effective), nil
}

// Capabilities returns the effective capabilities that the machine's files say the calling thread has.
func (m *Machine) Capabilities() (Capabilities, error) {
	status, err := m.text("proc/thread-self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(status) {
		if set, found := strings.CutPrefix(line, "CapEff:"); found {
			bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			return Capabilities(bits), err
		}
	}
	return 0, fmt.Errorf("/proc/thread-self/status does not have them")
}

// Permission looks at whether this process has the capabilities that something needs.
func (m *Machine) Permission(p *Part, needed ...Capability) {
	const subject = "capabilities"
	var all Capabilities
	for _, c := range needed {
		all |= 1 << c
	}
	names := Capabilities(0).Missing(needed...)
	caps, err := m.Capabilities()
	if err != nil {
		p.Unknown(subject, "getpcaps $$", "those of this process are not known: %v; needed are %s", err, strings.Join(names, ", "))
		return
	}
	if missing := caps.Missing(needed...); len(missing) > 0 {
		p.Missing(subject, all.setcap(), "this process lacks %s (root has all; the shipped unit of systemd gives them to the daemon)", strings.Join(missing, ", "))
		p.Findings[len(p.Findings)-1].needs = all
		return
	}
	p.OK(subject, "%s", strings.Join(names, ", "))
}

// Helpful adds a warning about what a subject lacks if the process does not have a capability, which is in addition to those that are needed.
func (m *Machine) Helpful(p *Part, subject string, c Capability, needed []Capability, without string) {
	caps, err := m.Capabilities()
	switch {
	case err != nil:
		p.Unknown(subject, "getpcaps $$", "the capabilities of this process are not known: %v; %s is wanted", err, c)
	case caps.Has(c):
		p.OK(subject, "%s", c)
	default:
		all := Capabilities(1 << c)
		for _, other := range needed {
			all |= 1 << other
		}
		p.Warn(subject, all.setcap(), "this process lacks %s, and %s (root has all; the shipped unit of systemd gives it to the daemon)", c, without)
		p.Findings[len(p.Findings)-1].needs = all
	}
}

// setcap returns the command that gives the program the capabilities, and takes away all others.
func (s Capabilities) setcap() string {
	var names []string
	for _, c := range []Capability{NetAdmin, NetRaw, IPCLock, BPF, Perfmon} {
		if s>>c&1 != 0 {
			names = append(names, strings.ToLower(c.String()))
		}
	}
	return fmt.Sprintf(`setcap %s+ep "$(command -v pipelined)"`, strings.Join(names, ","))
}

// JoinCapabilities gives findings about missing capabilities one command for all of them, since setcap replaces what a file had.
func JoinCapabilities(findings []Finding) {
	var all Capabilities
	for _, f := range findings {
		all |= f.needs
	}
	for i := range findings {
		if findings[i].needs != 0 {
			findings[i].needs, findings[i].Command = all, all.setcap()
		}
	}
}
