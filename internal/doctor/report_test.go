package doctor

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/internal/machine"
)

// findings are of all verdicts, one of them twice, and the parts are mixed.
func findings() []machine.Finding {
	var wan, conntrack machine.Part
	wan.Name, conntrack.Name = "interface wan\x1b0", "conntrack"
	wan.OK("link", "veth, up")
	conntrack.Warn("nf_conntrack_acct", "sysctl -w net.netfilter.nf_conntrack_acct=1", "it is 0")
	wan.Missing("use", "", "it is\nneeded")
	conntrack.Unknown("tracking", "nft list ruleset", "not known: <%s>", "why")
	return append(append(wan.Findings, conntrack.Findings...), wan.Findings[0])
}

// TestWriteText prints a report as people read it.
func TestWriteText(t *testing.T) {
	const want = `what pipe\u001bline.toml needs

conntrack
  warning  nf_conntrack_acct  it is 0; do: sysctl -w net.netfilter.nf_conntrack_acct=1
  unknown  tracking           not known: <why>; do: nft list ruleset
interface wan\u001b0
  ok       link               veth, up
  missing  use                it is\u000aneeded

1 missing, 1 warning, 1 unknown
`
	var b strings.Builder
	if err := NewReport("pipe\x1bline.toml", findings()).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// TestWriteJSON prints a report as scripts read it.
func TestWriteJSON(t *testing.T) {
	const want = `{
  "ready": false,
  "findings": [
    {
      "part": "conntrack",
      "subject": "nf_conntrack_acct",
      "verdict": "warning",
      "text": "it is 0",
      "command": "sysctl -w net.netfilter.nf_conntrack_acct=1"
    },
    {
      "part": "conntrack",
      "subject": "tracking",
      "verdict": "unknown",
      "text": "not known: <why>",
      "command": "nft list ruleset"
    },
    {
      "part": "interface wan\u001b0",
      "subject": "link",
      "verdict": "ok",
      "text": "veth, up"
    },
    {
      "part": "interface wan\u001b0",
      "subject": "use",
      "verdict": "missing",
      "text": "it is\nneeded"
    }
  ]
}
`
	var b strings.Builder
	if err := NewReport("", findings()).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	var back Report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back.Ready || len(back.Findings) != 4 {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

// TestSummary counts.
func TestSummary(t *testing.T) {
	of := func(verdicts ...machine.Verdict) string {
		var list []machine.Finding
		for i, v := range verdicts {
			list = append(list, machine.Finding{Part: "a", Subject: string(rune('a' + i)), Verdict: v})
		}
		r := NewReport("", list)
		if strings.HasPrefix(r.Summary(), "nothing is missing") != r.Ready {
			t.Errorf("%v: ready is %v", verdicts, r.Ready)
		}
		return r.Summary()
	}
	for want, got := range map[string]string{
		"nothing is missing":                        of(machine.OK),
		"nothing is missing, 2 warnings, 1 unknown": of(machine.Warning, machine.Unknown, machine.Warning),
		"2 missing, 1 warning":                      of(machine.Missing, machine.Warning, machine.Missing),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestGeneral looks at machines of files, and at their network cards.
func TestGeneral(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	root := fstest.MapFS{
		"proc/sys/kernel/osrelease":     file("6.1.0\n"),
		"proc/meminfo":                  file("MemTotal: 1000000 kB\nMemAvailable: 102400 kB\n"),
		"proc/self/cgroup":              file("0::/\n"),
		"proc/self/uid_map":             file("0 1000 1\n"),
		"proc/self/mountinfo":           file("23 22 0:21 /sys /proc/sys ro - proc proc rw\n"),
		"sys/class/net/eth0/device/x":   file(""),
		"sys/class/net/br0/bridge/x":    file(""),
		"sys/class/net/wan0/device/x":   file(""),
		"sys/class/net/bonding_masters": file(""),
	}
	m := &machine.Machine{Root: root}
	if diff := cmp.Diff([]string{"eth0", "wan0"}, Cards(m)); diff != "" {
		t.Error(diff)
	}
	verdicts := func(m *machine.Machine) map[string]machine.Verdict {
		got := make(map[string]machine.Verdict)
		for _, f := range General(m) {
			got[f.Subject] = f.Verdict
		}
		return got
	}
	if diff := cmp.Diff(map[string]machine.Verdict{
		"kernel": machine.OK, "memory": machine.Warning, "user namespace": machine.Warning, "settings": machine.OK,
	}, verdicts(m)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]machine.Verdict{
		"kernel": machine.Unknown, "memory": machine.Unknown, "user namespace": machine.OK, "settings": machine.OK,
	}, verdicts(&machine.Machine{Root: fstest.MapFS{}})); diff != "" {
		t.Error(diff)
	}
	if names := Cards(&machine.Machine{Root: fstest.MapFS{}}); names != nil {
		t.Errorf("cards of nothing: %q", names)
	}
}
