package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/source"
)

// sample is a ledger whose sums hold.
func sample() Ledger {
	return Ledger{
		Packets: Packets{
			Received: 100, Bytes: 6400, Forwarded: 10, Dropped: 20, Passed: 58, Refused: 5, NotSent: 7,
			DroppedAt: map[string]uint64{"ingress": 20}, RefusedAs: map[string]uint64{"tcp_short": 5, "ip_short": 0},
		},
		Sessions: Sessions{Active: 2, Created: 10, Closed: 8},
		Events:   map[string]Events{"policy-deny": {Offered: 30, RateLimited: 10, Admitted: 20}, "session-open": {}},
		Sinks: map[string]map[string]Queue{"audit": {
			"policy-deny":  {Filtered: 1, Queued: 15, OverBudget: 2, Disconnected: 1, Closed: 1, Acknowledged: 10, Rejected: 1, Evicted: 1, Abandoned: 1, InFlight: 2},
			"session-open": {},
			"loss":         {Queued: 3, Acknowledged: 3},
		}},
	}
}

func TestP1Check(t *testing.T) {
	l := sample()
	l.Check()
	if l.Unaccounted != 0 {
		t.Fatalf("%d unaccounted for in a ledger that balances", l.Unaccounted)
	}
	for name, spoil := range map[string]func(*Ledger){
		"packet":  func(l *Ledger) { l.Packets.Passed++ },
		"session": func(l *Ledger) { l.Sessions.Closed-- },
		"event":   func(l *Ledger) { l.Events["session-open"] = Events{Offered: 1} },
		"admitted": func(l *Ledger) {
			q := l.Sinks["audit"]["policy-deny"]
			q.Filtered++
			l.Sinks["audit"]["policy-deny"] = q
		},
		"acknowledged": func(l *Ledger) {
			q := l.Sinks["audit"]["policy-deny"]
			q.InFlight--
			l.Sinks["audit"]["policy-deny"] = q
		},
		"loss record":   func(l *Ledger) { l.Sinks["audit"]["loss"] = Queue{Queued: 3, Acknowledged: 2} },
		"kind at gate":  func(l *Ledger) { l.Sinks["audit"]["session-open"] = Queue{Queued: 1, Acknowledged: 1} },
		"lost anywhere": func(l *Ledger) { l.Sinks["audit"]["policy-deny"] = Queue{} },
	} {
		l := sample()
		spoil(&l)
		l.Check()
		if l.Unaccounted == 0 {
			t.Errorf("%s: a ledger that does not balance passes", name)
		}
	}
}

func TestWriteText(t *testing.T) {
	l := sample()
	l.Check()
	var b strings.Builder
	if err := l.WriteText(&b, []string{"session-open", "policy-deny", "loss"}); err != nil {
		t.Fatal(err)
	}
	const want = `       packets  received     forwarded   dropped    passed     refused  not sent
                     100            10        20        58           5         7
      sessions   created        closed    active  given up  table full
                      10             8         2         0           0
        events   offered  rate limited  admitted
  session-open         0             0         0
   policy-deny        30            10        20
    sink audit    queued  acknowledged  filtered  over budget  disconnected  other  in flight
  session-open         0             0         0            0             0      0          0
   policy-deny        15            10         1            2             1      4          2
          loss         3             3         0            0             0      0          0
refused packets: tcp_short 5
0 unaccounted for
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

// TestRefusalsWrap: causes that do not fit a line of the ledger go on in the next one, below the first.
func TestRefusalsWrap(t *testing.T) {
	by := map[string]uint64{"none": 0}
	for i := range 30 {
		by[fmt.Sprintf("cause_%02d", i)] = uint64(i + 1)
	}
	lines := strings.Split(refusedTitle+refusals(by), "\n")
	if len(lines) < 3 {
		t.Errorf("%d lines", len(lines))
	}
	for i, line := range lines {
		if len(line) > lineWidth || i > 0 && !strings.HasPrefix(line, strings.Repeat(" ", len(refusedTitle))+"cause_") {
			t.Errorf("%d columns: %q", len(line), line)
		}
	}
	if all := strings.Join(lines, " "); strings.Count(all, "cause_") != 30 || strings.Contains(all, "none") {
		t.Errorf("causes are missing or made up: %s", all)
	}
}

func snapshot() Snapshot {
	l := sample()
	l.Check()
	return Snapshot{
		Ledger:      l,
		RateLimited: map[string]map[string]uint64{"policy-deny": {"untrust": 10}},
		Sinks:       map[string]Sink{"audit": {Up: true, Runs: 3, LagRecords: 2, LagSeconds: 0.5}},
		Sources:     map[string][]source.Counter{"wan": {{Name: "received", Queue: 1, Value: 60}, {Name: "reopened", Queue: -1, Value: 1}}},
		SourceOpen:  map[string]bool{"wan": true, "lan": false},
		Hooks:       map[string][]hook.Counter{"edge": {{Name: "ntp", Packets: 4, Bytes: 400}}},
	}
}

func TestCollector(t *testing.T) {
	c := NewCollector(snapshot)
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	const want = `
# HELP pipelined_events_total Events at the gate: offered = rate_limited + admitted.
# TYPE pipelined_events_total counter
pipelined_events_total{kind="policy-deny",outcome="admitted"} 20
pipelined_events_total{kind="policy-deny",outcome="offered"} 30
pipelined_events_total{kind="policy-deny",outcome="rate_limited"} 10
pipelined_events_total{kind="session-open",outcome="admitted"} 0
pipelined_events_total{kind="session-open",outcome="offered"} 0
pipelined_events_total{kind="session-open",outcome="rate_limited"} 0
# HELP pipelined_sink_lag_seconds Age of the oldest record that is not acknowledged.
# TYPE pipelined_sink_lag_seconds gauge
pipelined_sink_lag_seconds{sink="audit"} 0.5
# HELP pipelined_source_total A source's own counters.
# TYPE pipelined_source_total counter
pipelined_source_total{counter="received",queue="1",source="wan"} 60
pipelined_source_total{counter="reopened",queue="all",source="wan"} 1
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want),
		"pipelined_events_total", "pipelined_sink_lag_seconds", "pipelined_source_total"); err != nil {
		t.Error(err)
	}
}

func TestHandler(t *testing.T) {
	var sick error
	srv := httptest.NewServer(Handler(NewCollector(snapshot), func() any { return map[string]int{"a": 1} }, func() error { return sick }))
	defer srv.Close()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if code, body := get("/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	sick = errors.New("worker 3 is stuck")
	if code, body := get("/healthz"); code != http.StatusServiceUnavailable || body != "worker 3 is stuck\n" {
		t.Errorf("/healthz of a sick daemon: %d %q", code, body)
	}
	if code, body := get("/metrics"); code != http.StatusOK || !strings.Contains(body, `pipelined_sink_up{sink="audit"} 1`) {
		t.Errorf("/metrics: %d\n%s", code, body)
	}
	_, body := get("/status")
	var got map[string]int
	if err := json.Unmarshal([]byte(body), &got); err != nil || got["a"] != 1 {
		t.Errorf("/status: %q (%v)", body, err)
	}
	if code, _ := get("/nothing"); code != http.StatusNotFound {
		t.Errorf("/nothing: %d", code)
	}
}

// TestStrictHealth asks for losses, too.
func TestStrictHealth(t *testing.T) {
	lossy := errors.New("the ring of sink a overflows")
	var losses error
	well := func() error { return nil }
	h := Strict(Handler(NewCollector(snapshot), func() any { return 1 }, well), well, func() error { return losses })
	for _, c := range []struct {
		path   string
		losses error
		code   int
		body   string
	}{
		{"/healthz", lossy, http.StatusOK, "ok\n"},
		{"/healthz?strict", nil, http.StatusOK, "ok\n"},
		{"/healthz?strict", lossy, http.StatusServiceUnavailable, lossy.Error() + "\n"},
		{"/status?strict", lossy, http.StatusOK, "1\n"},
	} {
		losses = c.losses
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, c.path, nil))
		if w.Code != c.code || w.Body.String() != c.body {
			t.Errorf("%s with %v: %d %q", c.path, c.losses, w.Code, w.Body)
		}
	}
}
