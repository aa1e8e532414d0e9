package plugins

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	script := filepath.Join(dir, "examples/node/sink.js")
	path := filepath.Join(dir, "out.json")
	table := fmt.Sprintf("path = %q\nprocess = { mtls = false, env = [\"PATH\"] }", path)
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
		var got struct {
			Epoch, Sequence, Kind, Source string
			SourcePort                    uint16
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		r := &want[i]
		i++
		if got.Epoch != "1" || got.Sequence != fmt.Sprint(i) || got.Kind != r.Kind().String() {
			t.Fatalf("line %d: %+v, want a %v", i, got, r.Kind())
		}
		if r.Src().Is4() && (got.Source != r.Src().String() || got.SourcePort != r.SrcPort()) {
			t.Fatalf("line %d: %+v, want %v:%d", i, got, r.Src(), r.SrcPort())
		}
	}
	if i != 5000 {
		t.Errorf("%d lines", i)
	}
	if !raceEnabled { // nothing of it runs under the race detector
		conform(t, table, 20_000, script)
	}
}
