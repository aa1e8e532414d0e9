package nflog

import (
	"io/fs"
	"maps"
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
		"missing group 7: another process reads the group (netlink port 4294963013, often ulogd2): stop it, or choose another group; sudo ss -f netlink -p", none("7"),
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

// TestOwners finds processes by the sockets that they have open, and by the port.
func TestOwners(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	link := func(to string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink} }
	root := fstest.MapFS{
		ownersPath: file("    5 2342086127 0 2 192 1 1\n    6 812 0 2 192 1 1\n    7 900 0 2 192 1 1\n    8 2342086128 0 2 192 1 1\n"),
		netlinkPath: file("sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n" +
			"0000000000000000 12  2342086127 00000000 0        0        0     2        0        4711    \n" +
			"0000000000000000 0   2342086128 00000000 0        0        0     2        0        4712    \n" +
			"0000000000000000 12  900        00000000 0        0        0     2        0        4713    \n\n"),
		"proc/77/comm":  file("ulogd\n"),
		"proc/77/fd/0":  link("/dev/null"),
		"proc/77/fd/3":  link("socket:[4711]"),
		"proc/77/fd/4":  link("socket:[4712]"), // of another protocol
		"proc/812/comm": file("ulogd\n"),
		"proc/900/comm": file("bash\n"), // has come after the owner's process had that number
		"proc/901/comm": file("pipelined\n"),
		"proc/901/fd/9": link("socket:[4713]"),
		"proc/self":     link("77"),
	}
	got, err := readOwners(root)
	want := map[uint16]owner{
		5: {"2342086127", "77", "ulogd"}, 6: {"812", "812", "ulogd"}, 7: {"900", "901", "pipelined"}, 8: {port: "2342086128"},
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%+v, want %+v (%v)", got, want, err)
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
		var warned []any
		warnUnused(machine.This(), []uint16{5, 6}, func(_ string, args ...any) { warned = append(warned, args...) })
		if diff := cmp.Diff([]any{"group", uint16(6)}, warned); diff != "" {
			t.Error(diff)
		}
	})
}
