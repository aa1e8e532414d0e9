package conntrack

import (
	"errors"
	"io/fs"

	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/ruleset"
)

// Examine finds out what the source could read of the machine with the defaults of its options.
func Examine(m *machine.Machine) []machine.Finding {
	return examine(m, Config{Buffer: defaultBuffer}, false)
}

// examine finds out what a source with this configuration could read. needed says that there is one.
func examine(m *machine.Machine, c Config, needed bool) []machine.Finding {
	p := &machine.Part{Name: "conntrack", Needed: needed}
	ctnetlink.Examine(m, p)
	if _, err := m.Setting("net.netfilter.nf_conntrack_max"); errors.Is(err, fs.ErrNotExist) {
		p.Unknown("settings", "modprobe nf_conntrack", "nf_conntrack is not loaded, so its settings and its table are not there yet")
	} else {
		for _, s := range kernelSettings() {
			examineSetting(m, p, s, c.Accounting)
		}
		examineTable(m, p)
	}
	m.ReceiveBuffer(p, c.Buffer)
	return p.Findings
}

// examineSetting looks at a setting of the kernel. set says that the source is to change it where it is 0.
func examineSetting(m *machine.Machine, p *machine.Part, s kernelSetting, set bool) {
	name := "net.netfilter." + s.name
	command := machine.Sysctl(name, 1)
	value, err := m.Setting(name)
	switch {
	case err != nil:
		p.Unknown(s.name, "sysctl "+name, "it cannot be read: %v", err)
	case value == 2 && s.name == events:
		p.OK(s.name, "2: connections that are older than the daemon have no events, and it finds them in the table")
	case value != 0:
		p.OK(s.name, "%d", value)
	case !set:
		p.Warn(s.name, command, "it is 0: %s", s.without)
	case m.SettingsReadOnly() != "":
		p.Warn(s.name, command, "it is 0: %s; accounting = true cannot set it: %s", s.without, m.SettingsReadOnly())
	default:
		p.OK(s.name, "0; the source sets it (accounting = true)")
	}
}

// nearlyFull is which part of the table, in percent, may be in use before there is a warning.
const nearlyFull = 80

// examineTable looks at the use of the kernel's table, and at whether anything fills it.
func examineTable(m *machine.Machine, p *machine.Part) {
	const name = "net.netfilter.nf_conntrack_max"
	most, err := m.Setting(name)
	count, countErr := m.Setting("net.netfilter.nf_conntrack_count")
	if err := errors.Join(err, countErr); err != nil {
		p.Unknown("table", "conntrack --count", "its use is not known: %v", err)
		return
	}
	if most > 0 && count > most/100*nearlyFull {
		p.Warn("table", machine.Sysctl(name, 2*most), "%d entries of at most %d: packets of new connections are dropped when it is full", count, most)
	} else {
		p.OK("table", "%d entries of at most %d", count, most)
	}
	const subject = "tracking"
	if count > 0 {
		p.OK(subject, "connections are tracked in this network namespace")
		return
	}
	rules, err := ruleset.Read(m)
	switch {
	case rules.Tracks:
		p.OK(subject, "a rule makes the kernel track connections; there is none just now")
	case err != nil:
		p.Unknown(subject, "nft list ruleset", "there is no entry, and whether a rule (ct, masquerade, dnat) makes the kernel track connections is not known: %v", err)
	default:
		p.Lacks(subject, trackingCommand, "no rule of this network namespace makes the kernel track connections: there are no sessions to read")
	}
}

// trackingCommand makes the kernel track connections, and does nothing else.
const trackingCommand = `nft 'table inet pipelined { chain track { type filter hook forward priority 10; ct state new; }; }'`
