package docs

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rtflow/pipelined/core/feed"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/translate"
	"github.com/rtflow/pipelined/internal/routes"
	"github.com/rtflow/pipelined/sdk"
)

// full is a snapshot in which every metric has a value.
func full() metrics.Snapshot {
	return metrics.Snapshot{
		Ledger: metrics.Ledger{
			Packets: metrics.Packets{ByZone: map[string]uint64{"trust": 1}, DroppedAt: map[string]uint64{"ingress": 1}, RefusedAs: map[string]uint64{"ip_short": 1}},
			Events:  map[string]metrics.Events{"policy-deny": {}},
			Sinks:   map[string]map[string]metrics.Queue{"events": {"policy-deny": {Spool: new(metrics.Spool)}}},
		},
		RateLimited: map[string]map[string]uint64{"policy-deny": {"unknown": 1}},
		Sinks: map[string]metrics.Sink{"events": {
			Counters: []sdk.Counter{{Name: "reconnects"}}, GivenUpBefore: map[string]uint64{"policy-deny": 1}, Spool: new(metrics.SpoolState),
		}},
		Sources:    map[string][]source.Counter{"wan": {{Name: "received"}}},
		SourceOpen: map[string]bool{"wan": true},
		Hooks:      map[string][]hook.Counter{"screens": {{Name: "land"}}},
		Feed:       new(feed.Feed).Counts(),
		Routes:     new(routes.Status),

		Translated: new(translate.Translation).Counts(),
	}
}

var metricName = regexp.MustCompile("`(pipelined_[a-z_]+)`")

// Every metric has a row with its labels and outcomes in counters.md, and every metric named there exists.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewCollector(full))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	page := onePage(t, "docs/counters.md")
	exists := make(map[string]bool)
	for _, family := range families {
		name := family.GetName()
		exists[name] = true
		row := rowOf(page.prose, name)
		if row == "" {
			t.Errorf("%s has no row for %s", page.name, name)
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if !strings.Contains(row, "`"+label.GetName()+"`") {
					t.Errorf("the row of %s lacks the label %s", name, label.GetName())
				}
				if label.GetName() == "outcome" && !strings.Contains(row, "`"+label.GetValue()+"`") {
					t.Errorf("the row of %s lacks the outcome %s", name, label.GetValue())
				}
			}
		}
	}
	for name := range served(t) {
		if exists[name] = true; rowOf(page.prose, name) == "" {
			t.Errorf("%s has no row for %s", page.name, name)
		}
	}
	for _, m := range metricName.FindAllStringSubmatch(page.prose, -1) {
		if !exists[m[1]] {
			t.Errorf("%s names %s, which does not exist", page.name, m[1])
		}
	}
}

// served returns the names of our metrics that a server shows, its own included.
func served(t *testing.T) map[string]bool {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := metrics.NewServer(metrics.NewCollector(full), func() any { return 1 }, func() error { return nil }, metrics.ServerOptions{})
	done := make(chan error)
	go func() { done <- srv.Serve(l) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close(), srv.Close(), <-done); err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (pipelined_\w+) `).FindAllStringSubmatch(string(text), -1) {
		names[m[1]] = true
	}
	return names
}

// rowOf returns the line of a table that begins with that name.
func rowOf(text, name string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "| `"+name+"`") {
			return line
		}
	}
	return ""
}

// Every member of the ledger and every cause is named in counters.md.
func TestLedgerIsDescribed(t *testing.T) {
	text, err := json.Marshal(full().Ledger)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	wanted := keysOf(members)
	for c := packet.NotIP + 1; c < packet.NumCauses; c++ {
		wanted = append(wanted, c.String())
	}
	described := codeWords(onePage(t, "docs/counters.md").prose)
	for _, name := range wanted {
		if !described[name] && !slices.Contains([]string{"policy-deny", "events", "trust"}, name) { // a kind, a sink and a zone, by name
			t.Errorf("docs/counters.md does not describe %q", name)
		}
	}
}

// keysOf returns the keys of an object and of all objects in it.
func keysOf(object map[string]any) (keys []string) {
	for key, value := range object {
		keys = append(keys, key)
		if inner, ok := value.(map[string]any); ok {
			keys = append(keys, keysOf(inner)...)
		}
	}
	return keys
}
