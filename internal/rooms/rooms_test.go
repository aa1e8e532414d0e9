// Package rooms holds the import table of the project: which room may know which.
package rooms

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rtflow/pipelined"

// floors lists the rooms from the ground up. A room imports only rooms on floors below its own; rooms that are not
// listed, such as test helpers, are imported by tests alone.
var floors = [][]string{
	{"internal/flowhash", "internal/safefile", "internal/terminal", "internal/unpack", "sdk/event", "sdk/table", "core/packet", "core/metrics", "core/verify", "xsk"},
	{
		"sdk", "sdk/format", "sdk/eventstream", "sdk/sinkplugin/sinkv1", "core/replay", "core/session", "core/zone", "core/application",
		"core/config", "core/statedir",
	},
	{
		"core/admission", "core/hook", "core/source", "sdk/sinktest", "sdk/sinkplugin", "sdk/inflight", "sdk/topic",
		"sdk/options",
	},
	{
		"core/worker", "core/deliver", "plugins/policydeny", "plugins/screendrop", "plugins/filterlog", "sinks/file", "sinks/syslog",
		"sinks/unixsock", "sinks/nats", "sinks/kafka", "sources/capture", "sources/xdp",
	},
	{"core/pluginhost"},
	{"core/pipeline", "core/pluginkit"},
	{"cmd/pipelined", "cmd/pipelined-sink-nats", "cmd/pipelined-sink-kafka"},
}

// leaves are small packages that know nothing of ours. Every room may import them: the same helper would be written twice.
var leaves = []string{"internal/flowhash", "internal/safefile", "internal/terminal", "internal/unpack"}

// only lists, for a folder, the only folders of ours that its rooms may import beside the leaves.
var only = map[string][]string{
	"sinks/":  {"sdk"},
	"sdk":     {"sdk"},
	"core/":   {"core", "sdk"},
	"plugins": {"core", "sdk"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) map[string]pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := make(map[string]pkg)
	dec := json.NewDecoder(strings.NewReader(string(out)))
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

func floorOf(room string) int {
	return slices.IndexFunc(floors, func(rooms []string) bool { return slices.Contains(rooms, room) })
}

func TestImportsGoDownwards(t *testing.T) {
	found := packages(t)
	for floor, rooms := range floors {
		for _, room := range rooms {
			p, ok := found[room]
			if !ok {
				t.Errorf("%s is in the table and not in the project", room)
			}
			for _, imp := range p.Imports {
				other, ours := strings.CutPrefix(imp, module+"/")
				if !ours {
					continue
				}
				if slices.Contains(leaves, other) {
					continue
				}
				if below := floorOf(other); below < 0 || below >= floor {
					t.Errorf("%s (floor %d) imports %s (floor %d)", room, floor, other, below)
				}
				for folder, allowed := range only {
					if strings.HasPrefix(room, folder) && !slices.ContainsFunc(allowed, func(a string) bool {
						return other == a || strings.HasPrefix(other, a+"/")
					}) {
						t.Errorf("%s imports %s: rooms in %s import %v only", room, other, folder, allowed)
					}
				}
			}
		}
	}
}

// TestLeavesImportNothingOfOurs keeps a leaf from becoming a way around `only`.
func TestLeavesImportNothingOfOurs(t *testing.T) {
	found := packages(t)
	for _, leaf := range leaves {
		for _, imp := range found[leaf].Imports {
			if strings.HasPrefix(imp, module) {
				t.Errorf("%s imports %s", leaf, imp)
			}
		}
	}
}

// TestEveryRoomIsInTheTable fails for a new package until somebody has decided on its floor.
func TestEveryRoomIsInTheTable(t *testing.T) {
	for room := range packages(t) {
		if floorOf(room) < 0 && room != module && !strings.HasPrefix(room, "internal/") && !strings.HasPrefix(room, "test/") &&
			!strings.HasPrefix(room, "examples/") {
			t.Errorf("%s has no floor", room)
		}
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
