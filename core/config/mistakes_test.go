package config

import (
	"strings"
	"testing"
)

// sinkTable is what a plugin could read.
type sinkTable struct {
	Path   string `toml:"path"`
	Format string `toml:"format"`
	Rotate struct {
		Size string `toml:"size"`
		Keep int    `toml:"keep"`
	} `toml:"rotate"`
}

// Everything that is wrong is found in one go, in its place, in the core's tables and in a plugin's.
func TestMistakes(t *testing.T) {
	f, problems := Parse("mistakes.toml", testdata(t, "mistakes.toml"))
	f.RequireRun(problems)
	for _, c := range f.Sinks {
		if c.Name == "audit" && c.Section.Decode(new(sinkTable)) {
			t.Error("Decode found no mistake in sinks.audit")
		}
	}
	var b strings.Builder
	for _, p := range problems.All() {
		b.WriteString(p.String() + "\n")
	}
	golden(t, "mistakes.golden", b.String())
}
