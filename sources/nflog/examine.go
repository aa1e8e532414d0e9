package nflog

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/ruleset"
)

// Examine finds out what the source could read of the machine with the defaults of its options.
func Examine(m *machine.Machine) []machine.Finding { return examine(m, nil, defaultBuffer, false) }

// examine finds out whether these groups could be read. needed says that a configuration has the source.
func examine(m *machine.Machine, groups []uint16, buffer int, needed bool) []machine.Finding {
	p := &machine.Part{Name: "NFLOG", Needed: needed}
	m.Permission(p, machine.NetAdmin)
	if m.NeedsModule(p, "nfnetlink_log", "nfulnl_recv_config", "NFLOG") == machine.Present {
		examineGroups(m, p, groups)
	}
	m.ReceiveBuffer(p, buffer)
	return p.Findings
}

// showOwner returns the command that shows an owner.
func showOwner(who owner) string {
	if who.pid == "" {
		return "sudo ss -f netlink -p"
	}
	return "ps -fp " + machine.Shell(who.pid)
}

// daemon is the name of our own process.
const daemon = "pipelined"

// examineGroups looks at who has the groups: those of a configuration, or all.
func examineGroups(m *machine.Machine, p *machine.Part, groups []uint16) {
	owners, err := readOwners(m.Root)
	if err != nil {
		p.Unknown("groups", "sudo cat /"+ownersPath, "which groups are taken is not known: %v", err)
		return
	}
	if !p.Needed {
		var taken []string
		for _, group := range slices.Sorted(maps.Keys(owners)) {
			taken = append(taken, fmt.Sprintf("%d (%v)", group, owners[group]))
		}
		if len(taken) == 0 {
			taken = []string{"none"}
		}
		p.OK("groups", "taken: %s", strings.Join(taken, "; "))
		return
	}
	rules, rulesErr := ruleset.Read(m)
	for _, group := range groups {
		subject := fmt.Sprintf("group %d", group)
		switch who, taken := owners[group]; {
		case !taken:
			p.OK(subject, "free")
		case who.process == daemon:
			p.OK(subject, "%v, has it: a daemon runs, and another one could not read it", who)
		default:
			p.Missing(subject, showOwner(who), "%v (%v): stop it, or choose another group", ErrGroupTaken, who)
		}
		switch {
		case rules.Groups[group]:
			p.OK(subject, "a rule logs to it")
		case rulesErr != nil:
			p.Unknown(subject, "nft list ruleset", "whether a rule logs to it is not known: %v", rulesErr)
		default:
			p.Warn(subject, "", `no rule of this network namespace logs to it: write log prefix "DROP:name " group %d in front of a verdict`, group)
		}
	}
}

// warnUnused tells of groups that no rule of the network namespace of the calling thread logs to: there may be one later, and until then
// nothing comes. Of rules that cannot be read it tells nothing.
func warnUnused(m *machine.Machine, groups []uint16, warn func(msg string, args ...any)) {
	rules, err := ruleset.Read(m)
	if err != nil {
		return
	}
	for _, group := range groups {
		if !rules.Groups[group] {
			warn("no rule of the firewall logs to this group: nothing comes from it; see pipelined doctor", "group", group)
		}
	}
}

// Taken returns the groups that other programs read in the network namespace of the calling thread, and who does. Only root can find
// that out.
func Taken(m *machine.Machine) (map[uint16]string, error) {
	owners, err := readOwners(m.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing has loaded it
	}
	if err != nil {
		return nil, err
	}
	taken := make(map[uint16]string)
	for group, o := range owners {
		if o.process != daemon {
			taken[group] = o.String()
		}
	}
	return taken, nil
}
