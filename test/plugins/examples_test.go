package plugins

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// server is a web server that takes JSON lines, and says 503 to every third request.
type server struct {
	mu       sync.Mutex
	requests int
	lines    int
	refuses  bool
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := 0
	for lines := bufio.NewScanner(r.Body); lines.Scan(); n++ {
		if !json.Valid(lines.Bytes()) {
			http.Error(w, "no JSON", http.StatusBadRequest)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests++; s.refuses && s.requests%3 == 0 {
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	s.lines += n
}

// TestWebhook builds the example in Go and runs it against a server that is not always well.
func TestWebhook(t *testing.T) {
	exe := build(t, "./examples/webhook")
	there := &server{refuses: true}
	web := httptest.NewServer(there)
	defer web.Close()
	table := fmt.Sprintf("url = %q", web.URL)
	sink := open(t, table, exe)
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 2000)...)
	s.Drain()
	failures := 0
	for s.Acked() < 2000 {
		if err := s.Run(t.Context(), sink); err != nil {
			failures++
			if !strings.Contains(err.Error(), "503") {
				t.Fatal(err)
			}
		}
	}
	if there.lines != 2000 || failures == 0 {
		t.Errorf("%d lines are there, after %d failures", there.lines, failures)
	}
	there.mu.Lock()
	there.refuses = false
	there.mu.Unlock()
	conform(t, table, 20_000, exe)
}

// TestNode runs the example in JavaScript.
func TestNode(t *testing.T) {
	skipUnless(t, "PIPELINED_REQUIRE_NODE", "node", "npm")
	dir := t.TempDir()
	for _, file := range []string{
		"examples/node/sink.js", "examples/node/package.json", "examples/node/package-lock.json", "sdk/sinkplugin/sink_v1.proto",
	} {
		copyFile(t, root+file, filepath.Join(dir, file))
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = filepath.Join(dir, "examples/node")
	if out, err := npm.CombinedOutput(); err != nil {
		if os.Getenv("PIPELINED_REQUIRE_NODE") != "1" {
			t.Skipf("npm ci: %v\n%s", err, out) // without the registry there are no modules
		}
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	script := filepath.Join(dir, "examples/node/sink.js")
	jsonLines(t, `mtls = false, env = ["PATH"]`, script)
}

// TestPython runs the example in Python, with the interpreter and the libraries of the distribution.
func TestPython(t *testing.T) {
	const interpreter = "/usr/bin/python3"
	skipUnless(t, "PIPELINED_REQUIRE_PYTHON", interpreter)
	if out, err := exec.Command(interpreter, "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		if os.Getenv("PIPELINED_REQUIRE_PYTHON") != "1" {
			t.Skipf("needs grpcio and protobuf: %s", out)
		}
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	for _, file := range []string{"sink.py", "sink_v1_pb2.py"} {
		copyFile(t, root+"examples/python/"+file, filepath.Join(dir, file))
	}
	jsonLines(t, "mtls = false", filepath.Join(dir, "sink.py"))
}

// jsonLines tries an example that appends JSON lines to the file `path`: what it writes, and whether it conforms.
func jsonLines(t *testing.T, process, script string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.json")
	table := fmt.Sprintf("path = %q\nprocess = { %s }", path, process)
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 5000)...)
	s.Drain()
	if err := s.Run(t.Context(), open(t, table, script)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := sinktest.Records(1, 5000)
	i := 0
	for line := range bytes.Lines(text) {
		if i == len(want) {
			t.Fatalf("more than %d lines: %s", i, line)
		}
		compareLine(t, i+1, line, &want[i])
		i++
	}
	if i != len(want) {
		t.Errorf("%d lines", i)
	}
	if !race.Enabled { // nothing of it runs under the race detector
		conform(t, table, 20_000, script)
	}
}

// compareLine compares a line of the examples with its record.
func compareLine(t *testing.T, n int, line []byte, r *event.Record) {
	t.Helper()
	var got struct {
		Epoch, Sequence, Kind, Source, Destination string
		Time                                       time.Time
		SourcePort, DestinationPort                uint16
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if got.Epoch != "1" || got.Sequence != fmt.Sprint(n) || got.Kind != r.Kind().String() || got.Time.UnixMilli() != r.Time()/1e6 {
		t.Fatalf("line %d: %s, want a %v of %d", n, line, r.Kind(), r.Time())
	}
	if r.Kind() == event.Loss {
		if got.Source != "" || got.Destination != "" {
			t.Fatalf("line %d: %s: a loss has no addresses", n, line)
		}
		return
	}
	src, _ := netip.ParseAddr(got.Source) // an invalid one is not the wanted one
	dst, _ := netip.ParseAddr(got.Destination)
	if src != r.Src() || got.SourcePort != r.SrcPort() || dst != r.Dst() || got.DestinationPort != r.DstPort() {
		t.Fatalf("line %d: %s, want %v:%d to %v:%d", n, line, r.Src(), r.SrcPort(), r.Dst(), r.DstPort())
	}
}
