package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/session"
)

// FuzzParse checks that, whatever the text is, nothing panics, every problem stands at a place in the text, and a
// configuration without an error keeps the invariants that the packages which use it rely on.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"full.toml", "mistakes.toml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		for table := range strings.SplitSeq(string(data), "\n\n") {
			f.Add([]byte(table))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, problems := Parse("fuzz.toml", data)
		file.RequireRun(problems)
		for _, family := range families() {
			for _, c := range file.components(family) {
				c.Section.Decode(new(everything))
				c.Section.Decode(new(map[string]everything))
				c.Section.Errorf("list[0].a", "an element")
			}
		}
		l := newLines(strings.TrimLeft(string(data), "\ufeff"))
		for _, p := range problems.All() {
			if p.Line < 0 || p.Line > len(l) || (p.Line == 0) != (p.Column == 0) || p.Message == "" {
				t.Errorf("problem without a place: %+v", p)
			}
		}
		_, problems = Parse("fuzz.toml", data)
		if problems.Err() == nil {
			checkFile(t, file)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data, err := os.ReadFile(filepath.Join("testdata", "full.toml"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, problems := Parse("full.toml", data); problems.Err() != nil {
			b.Fatal(problems.Err())
		}
	}
}

// checkFile checks the promises of a configuration without an error.
func checkFile(t *testing.T, f *File) {
	t.Helper()
	for _, c := range f.Sinks {
		r := c.Replay
		if r.PerKind < 1 || r.PerKind > r.Telemetry || r.Telemetry >= r.Slots || r.Slots&(r.Slots-1) != 0 || c.Plugin == "" {
			t.Errorf("sink %s: plugin %q, ring %+v", c.Name, c.Plugin, r)
		}
	}
	ids := make(map[uint16]bool)
	for _, z := range f.Zones {
		if z.ID == 0 || ids[z.ID] {
			t.Errorf("zone %s has id %d", z.Name, z.ID)
		}
		ids[z.ID] = true
	}
	if s := f.Sessions; s.Max < session.MinSessions || s.TCP < session.MinTimeout || s.Other > session.MaxTimeout {
		t.Errorf("sessions %+v", s)
	}
}
