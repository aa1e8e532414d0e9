package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rtflow/pipelined"

// A layer is a set of packages that do not import each other, but for helpers.
type layer struct {
	name     string
	packages []string
}

// layers lists every package that ships, from the bottom to the top. A package imports only packages of layers below its
// own, and helpers. Packages that are not listed serve tests alone.
var layers = []layer{
	{"basic helpers", []string{
		"internal/filewatch", "internal/flowhash", "internal/heavy", "internal/httpconns", "internal/hugepage", "internal/keypath", "internal/memory", "internal/monotonic", "internal/namespace", "internal/nfnetlink", "internal/pace", "internal/prefetch", "internal/rfc5424",
		"internal/safefile", "internal/spelling", "internal/syslogframe", "internal/tally", "internal/terminal", "internal/unpack",
	}},
	{"helpers", []string{"internal/machine", "internal/table", "internal/unixsocket", "internal/values"}},
	{"data", []string{"sdk/event", "core/packet", "internal/logverify", "internal/ruleset", "xsk"}},
	{"parts", []string{
		"sdk", "sdk/format", "sdk/eventstream", "sdk/sinkplugin/sinkv1", "core/replay", "core/session", "core/tail", "core/zone", "core/application", "core/answer",
		"internal/ctnetlink", "internal/statedir",
	}},
	{"contracts", []string{
		"core/admission", "core/spool", "core/hook", "core/source", "core/packettext", "core/summary", "sdk/sinktest", "sdk/sinkplugin", "internal/framefile", "internal/inflight", "internal/topic",
		"internal/options", "internal/routes",
	}},
	{"configuration, metrics and translation", []string{"core/config", "core/kept", "core/metrics", "core/translate", "internal/translation"}},
	{"loops and plugins", []string{
		"core/worker", "core/feed", "core/namebook", "core/deliver", "core/control", "plugins/policydeny", "plugins/screendrop", "plugins/filterlog",
		"sources/afpacket", "sources/capture", "sources/conntrack", "sources/nflog", "sources/xdp",
		"sinks/file", "sinks/syslog", "sinks/unixsock", "sinks/nats", "sinks/kafka",
	}},
	{"explanation and survey", []string{"core/explain", "internal/survey"}},
	{"comparison, plan and draft", []string{"core/compare", "core/plan", "internal/draft"}},
	{"processes", []string{"internal/process"}},
	{"plugin processes", []string{"internal/pluginhost"}},
	{"assembly", []string{"core/pipeline", "internal/doctor", "internal/pluginkit"}},
	{"screens", []string{"internal/top", "web"}},
	{"commands", []string{"cmd/pipelined", "cmd/pipelined-sink-nats", "cmd/pipelined-sink-kafka"}},
}

// helpers are the packages that import nothing of the project but each other, so that every package above may import them.
var helpers = slices.Concat(layers[0].packages, layers[1].packages)

// only restricts packages of a folder further, to imports from these folders, and helpers.
var only = []struct {
	folder string
	from   []string
}{
	{"sdk", []string{"sdk"}},
	{"sinks", []string{"sdk", "internal/inflight", "internal/options", "internal/topic"}},
	{"core", []string{"core", "sdk", "internal/routes", "internal/statedir"}},
	{"plugins", []string{"core", "sdk"}},
	{"sources", []string{"core", "sdk", "xsk", "internal/ctnetlink", "internal/ruleset", "internal/translation"}},
	{"xsk", nil},
}

type pkg struct {
	ImportPath string
	Doc        string // first sentence of the package comment
	Imports    []string
}

func packages(t *testing.T) map[string]pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := make(map[string]pkg)
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		found[strings.TrimPrefix(p.ImportPath, module+"/")] = p
	}
}

func layerOf(name string) int {
	return slices.IndexFunc(layers, func(l layer) bool { return slices.Contains(l.packages, name) })
}

// in reports whether a package is the folder or below it.
func in(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }

func TestImports(t *testing.T) {
	found := packages(t)
	for i, l := range layers {
		for _, name := range l.packages {
			p, ok := found[name]
			if !ok {
				t.Errorf("%s is in the table and not in the project", name)
			}
			for _, path := range p.Imports {
				imported, ours := strings.CutPrefix(path, module+"/")
				if !ours {
					continue
				}
				if below := layerOf(imported); below < 0 || below >= i {
					t.Errorf("%s (layer %d) imports %s (layer %d)", name, i, imported, below)
				}
				if slices.Contains(helpers, imported) {
					continue
				}
				for _, rule := range only {
					if in(name, rule.folder) && !slices.ContainsFunc(rule.from, func(from string) bool { return in(imported, from) }) {
						t.Errorf("%s imports %s: packages of %s import from %v only", name, imported, rule.folder, rule.from)
					}
				}
			}
		}
	}
}

// TestEveryPackage fails for a new package until it stands in the table, and for one that does not say what it is for.
func TestEveryPackage(t *testing.T) {
	for name, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", name)
		}
		if layerOf(name) >= 0 || name == module || name == "internal/layers" ||
			in(name, "internal/testing") || in(name, "test") || in(name, "testdata") || in(name, "examples") {
			continue
		}
		t.Errorf("%s stands in no layer", name)
	}
}

// TestDaemonLinksNoBroker keeps the clients of brokers, and what they bring along, out of the daemon: those sinks are
// executables of their own.
func TestDaemonLinksNoBroker(t *testing.T) {
	deps := func(command string) string {
		t.Helper()
		out, err := exec.Command("go", "list", "-deps", module+"/cmd/"+command).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		return string(out)
	}
	daemon := deps("pipelined")
	for command, client := range map[string]string{
		"pipelined-sink-nats": "github.com/nats-io/nats.go", "pipelined-sink-kafka": "github.com/twmb/franz-go",
	} {
		if strings.Contains(daemon, client) {
			t.Errorf("cmd/pipelined links %s", client)
		}
		if !strings.Contains(deps(command), client) {
			t.Errorf("cmd/%s does not link %s: does this test look for the right name?", command, client)
		}
	}
}

const (
	designPage = "../../docs/design.md"
	begin      = "<!-- Generated by go generate ./internal/layers -->\n"
	end        = "<!-- End of the generated part -->\n"
)

var update = flag.Bool("update", false, "write the table into docs/design.md")

// TestDesignPage compares the table of packages in the design page with the layers and the package comments.
func TestDesignPage(t *testing.T) {
	page, err := os.ReadFile(designPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), begin)
	got, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no generated part", designPage)
	}
	want := render(packages(t))
	if *update {
		if err := os.WriteFile(designPage, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("the table of packages in %s is not what go generate ./internal/layers writes; want\n%s", designPage, want)
	}
}

// render writes the table of packages, from the top layer to the bottom, and the packages that serve tests.
func render(found map[string]pkg) string {
	var b strings.Builder
	row := func(layer, name string) {
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", layer, name, purpose(name, found[name].Doc))
	}
	b.WriteString("| layer | package | purpose |\n|---|---|---|\n")
	for i, l := range slices.Backward(layers) {
		for _, name := range l.packages {
			row(fmt.Sprintf("%d %s", i, l.name), name)
		}
	}
	var others []string
	for name := range found {
		if layerOf(name) < 0 && name != module {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		row("tests and examples", name)
	}
	b.WriteString("\nBeside the layers, and helpers aside, packages of\n\n")
	for _, rule := range only {
		from := "nothing of the project"
		if len(rule.from) > 0 {
			from = "`" + strings.Join(rule.from, "`, `") + "`"
		}
		fmt.Fprintf(&b, "- `%s/` import only: %s\n", rule.folder, from)
	}
	return b.String()
}

// purpose is the first sentence of a package comment without the words that each begins with.
func purpose(name, doc string) string {
	doc = strings.TrimPrefix(doc, "Package "+name[strings.LastIndex(name, "/")+1:]+" ")
	doc = strings.TrimPrefix(doc, "Command "+name[strings.LastIndex(name, "/")+1:]+" ")
	return strings.ReplaceAll(strings.TrimSuffix(doc, "."), "|", `\|`)
}
