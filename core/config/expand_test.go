package config

import (
	"os"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// References to environment variables are replaced in every string, and in nothing else.
func TestExpand(t *testing.T) {
	t.Setenv("SITE", "edge-1")
	t.Setenv("EMPTY", "")
	t.Setenv("_X9", "${SITE}")
	s, problems := ParseTable("", []byte(`
a = "${SITE}"
b = "fw-${SITE}.${SITE}${EMPTY}"
c = ["x", "${SITE}", ["${SITE}"]]
d = { e = "${SITE}", "${SITE}" = 1 }
f = '$${SITE} $${ $$${SITE}'
g = "$SITE $$ } {x} 5$ $1"
h = "${_X9}"
i = """
${SITE}"""
[[j]]
k = "${SITE}"
`))
	wantProblems(t, problems)
	var got map[string]any
	if !s.Decode(&got) {
		t.Fatal(problems.All())
	}
	want := map[string]any{
		"a": "edge-1", "b": "fw-edge-1.edge-1", "c": []any{"x", "edge-1", []any{"edge-1"}},
		"d": map[string]any{"e": "edge-1", "${SITE}": int64(1)}, "f": "${SITE} ${ $${SITE}", "g": "$SITE $$ } {x} 5$ $1",
		"h": "${SITE}", "i": "edge-1", "j": []map[string]any{{"k": "edge-1"}},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExpandMistakes(t *testing.T) {
	t.Setenv("UNSET", "")
	if err := os.Unsetenv("UNSET"); err != nil { // Setenv restores it
		t.Fatal(err)
	}
	const none = "${ begins the name of an environment variable, and what follows is none: write ${NAME}, or $${ for the characters themselves"
	f, problems := Parse("", []byte(`
[node]
name = "${UNSET}"
[zones.a]
interfaces = ["lan0", "${UNSET", "${}", "${9}", "${a b}"]
[sinks.s]
plugin = "${UNSET}"
only = "${UNSET}"
`))
	wantProblems(t, problems,
		"3:1: node.name: the environment variable UNSET is not set; write $${ for the characters ${",
		"5:23: zones.a.interfaces[1]: "+none, "5:34: zones.a.interfaces[2]: "+none,
		"5:41: zones.a.interfaces[3]: "+none, "5:49: zones.a.interfaces[4]: "+none,
		"6:8: warning: sinks.s: this sink is defined but not in pipeline.sinks: it does nothing",
		"7:1: sinks.s.plugin: the environment variable UNSET is not set; write $${ for the characters ${",
		"8:1: sinks.s.only: the environment variable UNSET is not set; write $${ for the characters ${",
	)
	if f.Sinks[0].Plugin != "${UNSET}" {
		t.Errorf("the plugin is %q", f.Sinks[0].Plugin)
	}
}

// HOSTNAME is the host's name where the environment has none.
func TestExpandHostname(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("[node]\nname = 'fw-${HOSTNAME}'")
	t.Setenv("HOSTNAME", "other")
	if f, _ := Parse("", text); f.Node.Name != "fw-other" {
		t.Errorf("the name is %q", f.Node.Name)
	}
	if err := os.Unsetenv("HOSTNAME"); err != nil { // Setenv restores it
		t.Fatal(err)
	}
	if f, _ := Parse("", text); f.Node.Name != "fw-"+host {
		t.Errorf("the name is %q, want that of the host, %q", f.Node.Name, host)
	}
}
