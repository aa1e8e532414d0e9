package conntrack

import (
	"maps"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// tracking is a machine that tracks connections, with all settings as they should be.
func tracking() map[string]string {
	return map[string]string{
		"proc/thread-self/status":                       "CapEff:\t0000000000001000\n",
		"proc/self/uid_map":                             "0 0 4294967295\n",
		"sys/module/nf_conntrack_netlink":               "",
		"proc/sys/net/netfilter/nf_conntrack_acct":      "1\n",
		"proc/sys/net/netfilter/nf_conntrack_timestamp": "1\n",
		"proc/sys/net/netfilter/nf_conntrack_events":    "1\n",
		"proc/sys/net/netfilter/nf_conntrack_max":       "1000\n",
		"proc/sys/net/netfilter/nf_conntrack_count":     "12\n",
	}
}

// TestExamine changes one thing of a machine at a time, and looks for the finding that is not ok.
func TestExamine(t *testing.T) {
	const settings = "proc/sys/net/netfilter/nf_conntrack_"
	readOnly := map[string]string{"proc/self/mountinfo": "23 22 0:21 /sys /proc/sys ro - proc proc rw\n"}
	with := func(name, value string) map[string]string { return map[string]string{settings + name: value} }
	both := func(a, b map[string]string) map[string]string {
		c := maps.Clone(a)
		maps.Copy(c, b)
		return c
	}
	for name, tt := range map[string]struct {
		change             map[string]string // "" takes a file away
		accounting, needed bool
		subject            string // "" if all is ok
		verdict            machine.Verdict
		text, command      string
	}{
		"all right":             {},
		"events for listeners":  {change: with("events", "2")},
		"not counted":           {with("acct", "0"), false, true, "nf_conntrack_acct", machine.Warning, "are 0 in records", "sysctl -w net.netfilter.nf_conntrack_acct=1"},
		"set by the source":     {change: with("acct", "0"), accounting: true, needed: true},
		"cannot be set":         {both(with("acct", "0"), readOnly), true, true, "nf_conntrack_acct", machine.Warning, "cannot set it: /proc/sys is mounted read-only here", "sysctl -w net.netfilter.nf_conntrack_acct=1"},
		"no timestamps":         {with("timestamp", "0"), false, false, "nf_conntrack_timestamp", machine.Warning, "the beginning is not known", "sysctl -w net.netfilter.nf_conntrack_timestamp=1"},
		"no events":             {with("events", "0"), false, true, "nf_conntrack_events", machine.Warning, "not told of", "sysctl -w net.netfilter.nf_conntrack_events=1"},
		"setting is not known":  {with("events", ""), false, true, "nf_conntrack_events", machine.Unknown, "cannot be read", "sysctl net.netfilter.nf_conntrack_events"},
		"table nearly full":     {with("count", "801"), false, true, "table", machine.Warning, "801 entries of at most 1000", "sysctl -w net.netfilter.nf_conntrack_max=2000"},
		"use is not known":      {with("count", ""), false, true, "table", machine.Unknown, "not known", "conntrack --count"},
		"not loaded":            {with("max", ""), false, true, "settings", machine.Unknown, "not loaded", "modprobe nf_conntrack"},
		"rules are not known":   {with("count", "0"), false, true, "tracking", machine.Unknown, "whether nftables is loaded is not known", "nft list ruleset"},
		"nothing is tracked":    {both(with("count", "0"), map[string]string{"proc/kallsyms": "0 t other\n"}), false, false, "tracking", machine.Warning, "no rule", trackingCommand},
		"nothing, and needed":   {both(with("count", "0"), map[string]string{"proc/kallsyms": "0 t other\n"}), false, true, "tracking", machine.Missing, "no rule", trackingCommand},
		"without permission":    {map[string]string{"proc/thread-self/status": "CapEff:\t0\n", "proc/sys/net/core/rmem_max": "99999999\n"}, false, true, "capabilities", machine.Missing, "CAP_NET_ADMIN", `setcap cap_net_admin+ep "$(command -v pipelined)"`},
		"without ctnetlink":     {map[string]string{"sys/module/nf_conntrack_netlink": "", "proc/sys/kernel/osrelease": "6.1", "lib/modules/6.1/modules.dep": "x.ko:\n"}, false, true, "module", machine.Missing, "nf_conntrack_netlink", ""},
		"in a user's namespace": {map[string]string{"proc/self/uid_map": "0 1000 1\n", "proc/sys/net/core/rmem_max": "212992\n"}, false, true, "receive buffer", machine.Warning, "is 212992", "sysctl -w net.core.rmem_max=16777216"},
	} {
		t.Run(name, func(t *testing.T) {
			files := tracking()
			maps.Copy(files, tt.change)
			root := make(fstest.MapFS)
			for path, text := range files {
				if _, changed := tt.change[path]; text != "" || !changed {
					root[path] = &fstest.MapFile{Data: []byte(text)}
				}
			}
			c := Config{Buffer: defaultBuffer, Accounting: tt.accounting}
			found := false
			for _, f := range examine(&machine.Machine{Root: root}, c, tt.needed) {
				if f.Part != "conntrack" {
					t.Errorf("part of %+v", f)
				}
				if f.Verdict == machine.OK {
					continue
				}
				if found || f.Subject != tt.subject || f.Verdict != tt.verdict || !strings.Contains(f.Text, tt.text) || f.Command != tt.command {
					t.Errorf("got %+v", f)
				}
				found = true
			}
			if found != (tt.subject != "") {
				t.Errorf("want a finding about %q", tt.subject)
			}
		})
	}
}

// TestExamineNamespace runs the commands of the findings about a router that tracks nothing, and then finds nothing amiss.
func TestExamineNamespace(t *testing.T) {
	nettest.Require(t)
	// A rule in another namespace has the kernel load its modules, where it has not.
	nettest.NewRouter(t).Rules("table inet load { chain track { type filter hook forward priority 0; ct state new; }; }")
	r := nettest.NewRouter(t)
	r.Do(func() {
		m := machine.This()
		ran := 0
		for _, f := range examine(m, Config{Buffer: defaultBuffer}, true) {
			switch f.Verdict {
			case machine.Warning, machine.Missing:
				if out, err := exec.Command("sh", "-c", f.Command).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", f.Command, err, out)
				}
				ran++
			case machine.Unknown:
				t.Errorf("unknown: %+v", f)
			}
		}
		if ran == 0 {
			t.Error("nothing to run")
		}
		for _, f := range examine(m, Config{Buffer: defaultBuffer}, true) {
			if f.Verdict != machine.OK {
				t.Errorf("after the commands: %+v", f)
			}
		}
	})
}
