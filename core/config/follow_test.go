package config

import (
	"strings"
	"testing"
)

// What follows from a mistake is not told beside it.
func TestNoFollowUps(t *testing.T) {
	const component = "plugin = 'p'\n"
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"misspelled pipeline", "[pipelin]\nsources = 'a'\nsinks = 'b'\n[sources.a]\n" + component + "[sinks.b]\n" + component, []string{
			`1:2: pipelin: unknown table; did you mean "pipeline"?`,
		}},
		{"misspelled family", "[pipeline]\nsources = 'a'\nsinks = 'b'\n[source.a]\n" + component + "[sinks.b]\n" + component, []string{
			`4:2: source: unknown table; did you mean "sources"?`,
		}},
		{"misspelled beside a mistake of another family", "[pipeline]\nsources = 'a'\nsinks = 'c'\n[source.a]\n" + component + "[sinks.b]\n" + component, []string{
			`3:1: pipeline.sinks[0]: there is no sink "c"; the sinks are: b`,
			`4:2: source: unknown table; did you mean "sources"?`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, problems := Parse("", []byte(tt.text))
			f.RequireRun(problems)
			wantProblems(t, problems, tt.want...)
		})
	}
}

// Of a value that could not be decoded nothing more is said, of others all.
func TestNoMistakeTwice(t *testing.T) {
	s, problems := ParseTable("", []byte("a = 1\nb = ['x', 2]\nc = 3\n[d]\ne = 4"))
	var into struct {
		A string   `toml:"a"`
		B []string `toml:"b"`
		C int      `toml:"c"`
		D struct {
			E string `toml:"e"`
		} `toml:"d"`
	}
	s.Decode(&into)
	for _, key := range []string{"a", "b", "b[0]", "b[1]", "c", "d", "d.e"} {
		s.Errorf(key, "missing")
		s.Warnf(key, "odd")
	}
	wantProblems(t, problems,
		"1:1: a: must be a string, not 1",
		"2:6: b[0]: missing", "2:6: warning: b[0]: odd", "2:11: b[1]: must be a string, not 2",
		"3:1: c: missing", "3:1: warning: c: odd",
		"4:2: d: missing", "4:2: warning: d: odd",
		"5:1: d.e: must be a string, not 4",
	)
}

// counted counts how often it is printed.
type counted int

func (c *counted) String() string { *c++; return "x" }

// What is not kept is not formatted: the cost of a mistake does not grow with the number of names there are.
func TestOnlyKeptProblemsAreFormatted(t *testing.T) {
	s, problems := ParseTable("p.toml", []byte("a = 1\n"))
	var printed counted
	for range 1000 {
		s.Errorf("a", "%v", &printed)
		s.Warnf("a", "%v", &printed)
	}
	if printed != 2*maxProblems {
		t.Errorf("%d problems were formatted", printed)
	}
	all := problems.All()
	if got := all[len(all)-2].Message + "; " + all[len(all)-1].String(); got !=
		"too many mistakes: 900 more are not shown; p.toml: warning: too many warnings: 900 more are not shown" {
		t.Errorf("the last say %q", got)
	}
	if err := problems.Err(); strings.Contains(err.Error(), "warning") || !strings.Contains(err.Error(), "900 more") {
		t.Errorf("the error is %v", err)
	}
}
