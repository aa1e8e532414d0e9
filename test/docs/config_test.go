package docs

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/plugins/filterlog"
	"github.com/rtflow/pipelined/plugins/policydeny"
	"github.com/rtflow/pipelined/plugins/screendrop"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sinks/file"
	"github.com/rtflow/pipelined/sinks/syslog"
	"github.com/rtflow/pipelined/sinks/unixsock"
	"github.com/rtflow/pipelined/sources/afpacket"
	"github.com/rtflow/pipelined/sources/capture"
	"github.com/rtflow/pipelined/sources/conntrack"
	"github.com/rtflow/pipelined/sources/nflog"
	"github.com/rtflow/pipelined/sources/xdp"
)

// builtins is what the command has compiled in, and the plugin that docs/plugins.md is about.
func builtins(t testing.TB) *plan.Registry {
	t.Helper()
	host := pluginhost.New(pluginhost.Options{})
	r, err := plan.NewRegistry(
		[]source.Plugin{capture.Plugin(nil), xdp.Plugin(), afpacket.Plugin(), conntrack.Plugin(), nflog.Plugin()},
		[]hook.Plugin{screendrop.Plugin(), filterlog.Plugin(), policydeny.Plugin()},
		[]sdk.SinkPlugin{file.Plugin(), file.StdoutPlugin(), syslog.Plugin(), unixsock.Plugin(), host.Exec(), host.Named("webhook", "/bin/true")},
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// check returns what `pipelined check` prints about a configuration.
func check(t *testing.T, text string) (problems []string) {
	t.Helper()
	f, found := config.Parse("pipeline.toml", []byte(text))
	f.RequireRun(found)
	plan.New(f, found, plan.Options{
		Registry: builtins(t), Log: slog.New(slog.DiscardHandler), Hostname: "edge-1",
	})
	for _, p := range found.All() {
		problems = append(problems, p.String())
	}
	return problems
}

// Every configuration in the pages loads, with everything that the plugins have to say about it.
func TestConfigurations(t *testing.T) {
	for _, p := range pages(t, "docs/*.md", "README.md") {
		for i, b := range p.blocks {
			switch {
			case b.lang == "toml whole":
				wantNone(t, p, b, check(t, b.text))
			case b.lang == "toml part", b.lang == "toml" && p.name == "README.md":
				wantNone(t, p, b, check(t, complete(t, p, b)))
			case b.lang == "toml mistakes":
				if i+1 == len(p.blocks) {
					t.Fatalf("%s:%d: no block with the mistakes follows", p.name, b.line)
				}
				got := strings.Join(check(t, b.text), "\n") + "\n"
				if want := p.blocks[i+1].text; got != want {
					t.Errorf("%s:%d: the mistakes are\n%s", p.name, b.line, got)
				}
			case strings.HasPrefix(b.lang, "toml"):
				t.Errorf("%s:%d: say toml whole, toml part or toml mistakes", p.name, b.line)
			}
		}
	}
}

func wantNone(t *testing.T, p *page, b block, problems []string) {
	t.Helper()
	for _, problem := range problems {
		t.Errorf("%s:%d: %s", p.name, b.line, problem)
	}
}

// complete returns the text of a block with the tables behind it that it lacks: zones, a source and a sink, and a chain
// of everything that is defined.
func complete(t *testing.T, p *page, b block) string {
	t.Helper()
	var tables struct {
		Pipeline              map[string]any
		Zones                 map[string]any
		Sources, Hooks, Sinks map[string]any
	}
	if _, err := toml.Decode(b.text, &tables); err != nil {
		t.Fatalf("%s:%d: %v", p.name, b.line, err)
	}
	text := b.text
	switch {
	case tables.Zones == nil && tables.Sources != nil: // which need not read the interfaces of the zones
		text += "\n[zones.trust]\nprefixes = [\"10.0.1.0/24\"]\n[zones.untrust]\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n"
	case tables.Zones == nil:
		text += "\n[zones.trust]\ninterfaces = [\"lan0\"]\nprefixes = [\"10.0.1.0/24\"]\n" +
			"[zones.untrust]\ninterfaces = [\"wan0\"]\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n" +
			"[zones.dmz]\ninterfaces = [\"dmz0\"]\nprefixes = [\"192.0.2.0/24\"]\n"
	}
	if tables.Sources == nil {
		tables.Sources = map[string]any{"capture": nil}
		text += "\n[sources.capture]\nplugin = \"pcap\"\nfile = \"edge.pcapng.gz\"\n"
	}
	if tables.Sinks == nil {
		tables.Sinks = map[string]any{"events": nil}
		text += "\n[sinks.events]\nplugin = \"file\"\npath = \"/var/log/pipelined/events.log\"\n"
	}
	if tables.Pipeline == nil {
		text += "\n[pipeline]\nsources = " + names(tables.Sources) + "\nhooks = " + names(tables.Hooks) + "\nsinks = " +
			names(tables.Sinks) + "\n"
	}
	return text
}

// names returns the keys of a table as a TOML array.
func names(table map[string]any) string {
	var list []string
	for name := range table {
		list = append(list, `"`+name+`"`)
	}
	slices.Sort(list)
	return "[" + strings.Join(list, ", ") + "]"
}
