package nflog

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// lines returns findings with a verdict, a subject and a text.
func lines(findings []machine.Finding) (list []string) {
	for _, f := range findings {
		list = append(list, string(f.Verdict)+" "+f.Subject+": "+f.Text+"; "+f.Command)
	}
	return list
}

// TestExamine looks at groups that others have.
func TestExamine(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	root := fstest.MapFS{
		"proc/thread-self/status":      file("CapEff:\t1000\n"),
		"proc/self/uid_map":            file("0 0 4294967295\n"),
		"proc/kallsyms":                file("0 t nfulnl_recv_config\n"),
		"proc/812/comm":                file("ulogd\x1b\n"),
		"proc/900/comm":                file("pipelined\n"),
		ownersPath:                     file("    5    812     0 2 65535      0  1\n    6    900 0 2 192 100  1\n    7 4294963013 0 2 192 100  1\n\nbad\n99999 1\n    8 ../812 0\n"),
		"proc/thread-self/net/ignored": file(""),
	}
	m := &machine.Machine{Root: root}
	part := func(findings []machine.Finding) []string {
		list := lines(findings)
		return list[2 : len(list)-1] // without those about permission, module and buffer
	}
	none := func(group string) string {
		return "warning group " + group + `: no rule of this network namespace logs to it: write log prefix "DROP:name " group ` + group + " in front of a verdict; "
	}
	want := []string{
		"missing group 5: another process reads the group (ulogd\x1b, process 812): stop it, or choose another group; ps -fp 812", none("5"),
		"ok group 6: pipelined, process 900, has it: a daemon runs, and another one could not read it; ", none("6"),
		"missing group 7: another process reads the group (netlink port 4294963013, often ulogd2): stop it, or choose another group; ps -fp 4294963013", none("7"),
		"ok group 9: free; ", none("9"),
	}
	if diff := cmp.Diff(want, part(examine(m, []uint16{5, 6, 7, 9}, defaultBuffer, true))); diff != "" {
		t.Error(diff)
	}
	want = []string{"ok groups: taken: 5 (ulogd\x1b, process 812); 6 (pipelined, process 900); 7 (netlink port 4294963013, often ulogd2); 8 (netlink port ../812, often ulogd2); "}
	if diff := cmp.Diff(want, part(Examine(m))); diff != "" {
		t.Error(diff)
	}
	delete(root, ownersPath)
	if got := part(examine(m, []uint16{5}, defaultBuffer, true)); len(got) != 1 || !strings.HasPrefix(got[0], "unknown groups: which groups are taken is not known") {
		t.Errorf("without a list: %q", got)
	}
}

// TestExamineNamespace looks at a group that a rule logs to and that a source has, and at one that neither is true of.
func TestExamineNamespace(t *testing.T) {
	nettest.Require(t)
	r := nettest.NewRouter(t)
	r.Rules("table inet a { chain b { type filter hook forward priority 0; log prefix \"DROP:x \" group 5 drop; }; }")
	r.Do(func() {
		s, err := Open(config(t, `{"groups": [5]}`))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got := make(map[string]machine.Verdict)
		for _, f := range examine(machine.This(), []uint16{5, 6}, defaultBuffer, true) {
			if f.Verdict == machine.Unknown {
				t.Errorf("unknown: %+v", f)
			}
			got[f.Subject+": "+f.Text[:4]] = f.Verdict
		}
		want := map[string]machine.Verdict{
			"group 5: anot": machine.Missing, "group 5: a ru": machine.OK, "group 6: free": machine.OK, "group 6: no r": machine.Warning,
		}
		for text, verdict := range want {
			if got[text] != verdict {
				t.Errorf("%s: %q, want %q; all: %v", text, got[text], verdict, got)
			}
		}
	})
}
