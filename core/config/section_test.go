package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// pluginConfig is sdk.Config, which this package may not import: plugins get a Section as one.
type pluginConfig interface {
	Decode(into any) bool
	Errorf(key, format string, args ...any)
	Name() string
}

var _ pluginConfig = (*Section)(nil)

func TestParseTable(t *testing.T) {
	const text = "[hooks.screens]\nplugin = \"screendrop\"\nz = 1\na = {b = 2}\n"
	s, problems := ParseTable("pipeline.toml", []byte(text), "hooks", "screens")
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if s.Name() != "screens" || s.Path() != "hooks.screens" {
		t.Errorf("name %q, path %q", s.Name(), s.Path())
	}
	if file, line, column := s.Place(); file != "pipeline.toml" || line != 1 || column != 8 {
		t.Errorf("place %s:%d:%d", file, line, column)
	}
	if got, want := s.Keys(), []string{"plugin", "z", "a"}; !slices.Equal(got, want) {
		t.Errorf("keys %q, not %q", got, want)
	}
	if !s.Has("z") || s.Has("b") || s.Sub("z") != nil || s.Sub("b") != nil {
		t.Error("Has or Sub is wrong")
	}
	if sub := s.Sub("a"); sub == nil || sub.Name() != "a" || !sub.Has("b") {
		t.Errorf("Sub(a) is %v", sub)
	}
	// The core's keys are not unknown to the plugin, but it may read them.
	var own struct {
		Z int            `toml:"z"`
		A map[string]int `toml:"a"`
	}
	if !s.Decode(&own) || own.Z != 1 || own.A["b"] != 2 {
		t.Errorf("decoded %+v: %v", own, problems.Err())
	}
	var with struct {
		Plugin string         `toml:"plugin"`
		Z      int            `toml:"z"`
		A      map[string]int `toml:"a"`
	}
	if !s.Decode(&with) || with.Plugin != "screendrop" {
		t.Errorf("decoded %+v: %v", with, problems.Err())
	}
}

func TestParseTableWithout(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		path       []string
		want       string
	}{
		{"missing", "[hooks.screens]", []string{"hooks", "screns"}, `1:2: hooks.screns: no such table; did you mean "screens"?`},
		{"no table", "hooks = 1", []string{"hooks"}, `1:1: hooks: must be a table, not 1`},
		{"syntax", "[hooks.screens]\na = ü", []string{"hooks", "screens"}, `2:5: expected value but found "ü" instead`},
		{"duplicate", "a = 1\n\n  a = 2", nil, `3:3: Key 'a' has already been defined.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, problems := ParseTable("", []byte(tt.text), tt.path...)
			wantProblems(t, problems, tt.want)
			var into struct{}
			if !s.Decode(&into) {
				t.Error("an empty section has mistakes of its own")
			}
		})
	}
}

func TestErrorf(t *testing.T) {
	const text = "[hooks.edge-in]\nlist = [1,\n 2]\n[[hooks.edge-in.term]]\n[[hooks.edge-in.term]]\n" +
		"from = { protocol = 1, \"a.b\" = [{ x = 1 }] }\n"
	s, problems := ParseTable("", []byte(text), "hooks", "edge-in")
	for _, key := range []string{
		"", "list", "list[1]", "list[9]", "term[1].from.protocol", `term[1].from."a.b"[0].x`, "term[0].from.protocol",
		"term[2]", "nothing.at[0].all", "list[x", `"open`,
	} {
		s.Errorf(key, "wrong: %q", key)
	}
	s.Warnf("list", "odd")
	wantProblems(t, problems,
		`1:8: hooks.edge-in: wrong: ""`,
		`1:8: hooks.edge-in"open: wrong: "\"open"`,
		`1:8: hooks.edge-in.nothing.at[0].all: wrong: "nothing.at[0].all"`,
		`2:1: warning: hooks.edge-in.list: odd`,
		`2:1: hooks.edge-in.list: wrong: "list"`,
		`2:1: hooks.edge-in.list[9]: wrong: "list[9]"`,
		`2:1: hooks.edge-in.list[x: wrong: "list[x"`,
		`3:2: hooks.edge-in.list[1]: wrong: "list[1]"`,
		`4:17: hooks.edge-in.term[0].from.protocol: wrong: "term[0].from.protocol"`,
		`4:17: hooks.edge-in.term[2]: wrong: "term[2]"`,
		`6:10: hooks.edge-in.term[1].from.protocol: wrong: "term[1].from.protocol"`,
		`6:35: hooks.edge-in.term[1].from."a.b"[0].x: wrong: "term[1].from.\"a.b\"[0].x"`,
	)
}

func TestGuard(t *testing.T) {
	err := guard(func() error { panic("BUG") })
	if err == nil || !strings.Contains(err.Error(), "BUG") {
		t.Errorf("the error is %v", err)
	}
}

func TestProblems(t *testing.T) {
	s, problems := ParseTable("p.toml", []byte("a = 1\nb = 2\n"))
	s.Warnf("b", "odd")
	if err := problems.Err(); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
	s.Errorf("b", "wrong")
	s.Errorf("a", "wrong")
	s.Errorf("a", "wrong")
	var invalid *InvalidError
	if err := problems.Err(); !errors.As(err, &invalid) {
		t.Fatalf("the error is %v", err)
	}
	if got, want := invalid.Error(), "p.toml:1:1: a: wrong\np.toml:2:1: b: wrong"; got != want {
		t.Errorf("error\n%s\nnot\n%s", got, want)
	}
}

// A hostile file costs no more than its size, whatever is wrong with it.
func TestProblemsAreBounded(t *testing.T) {
	text := "[node]\n" + strings.Repeat("x", 400) + " = [" + strings.Repeat("{},", 20_000) + "]"
	s, problems := ParseTable("p.toml", []byte(text), "node")
	var into map[string][]int
	if s.Decode(&into) {
		t.Fatal("no mistake found")
	}
	all := problems.All()
	if len(all) != maxProblems+1 {
		t.Fatalf("%d problems are kept", len(all))
	}
	if got, want := all[maxProblems].Message, "too many mistakes: 19900 more are not shown"; got != want {
		t.Errorf("the last says %q, not %q", got, want)
	}
}
