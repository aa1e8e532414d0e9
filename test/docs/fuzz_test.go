package docs

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/plan"
)

// FuzzCheck gives any text to what `pipelined check` does: it never panics, each problem has a place in the text, their number is
// bounded, and the same text has the same problems.
func FuzzCheck(f *testing.F) {
	for _, name := range []string{"pipeline.toml", "cmd/pipelined/testdata/mistakes.toml", "plugins/policydeny/sample.toml",
		"plugins/filterlog/sample.toml", "plugins/screendrop/sample.toml", "sinks/syslog/sample.toml", "sinks/file/sample.toml",
		"sinks/unixsock/sample.toml", "sources/xdp/sample.toml", "sources/nflog/sample.toml"} {
		text, err := os.ReadFile(root + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("[node]\nname = \"${HOSTNAME} $${ ${\"\n[zones.a]\nprefixes = [\"10.0.0.1/8\", 5, \"::/129\"]\ninterfaces = \"lo\"")
	r := builtins(f)
	f.Fuzz(func(t *testing.T, text string) {
		problems := func() []config.Problem {
			file, found := config.Parse("pipeline.toml", []byte(text))
			file.RequireRun(found)
			plan.New(file, found, plan.Options{Registry: r, Log: slog.New(slog.DiscardHandler), Hostname: "edge-1"})
			return found.All()
		}
		first := problems()
		if len(first) > 202 { // a hundred mistakes, a hundred warnings, and how many more there are of each
			t.Errorf("%d problems", len(first))
		}
		lines := strings.Count(text, "\n") + 1
		for _, p := range first {
			ofFile := p.Key == "pipeline.sources" || p.Key == "pipeline.sinks" || strings.HasPrefix(p.Message, "too many ")
			if p.Message == "" || p.File != "pipeline.toml" || p.Line > lines || (p.Line < 1 || p.Column < 1) && !ofFile {
				t.Errorf("problem without a place: %+v", p)
			}
		}
		if again := problems(); !slices.Equal(first, again) {
			t.Errorf("problems differ:\n%v\n%v", first, again)
		}
	})
}
