package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/testing/ports"
)

// sampleStatus returns the status of a pipeline with a sink that is down.
func sampleStatus() pipeline.Status {
	at := time.Date(2026, 3, 1, 10, 15, 20, 0, time.UTC)
	return pipeline.Status{
		Epoch: 1772360120000000000, Uptime: 3723.4,
		Sources: map[string]any{"tap": map[string]any{
			"interface": "eth1", "condition": "up", "error": "", "queues": 4, "zero_copy": false, "kernel": map[string]any{"x": 1},
			"notes": []string{"generic mode: the driver has no XDP"},
		}},
		Sinks: map[string]pipeline.SinkStatus{
			"audit": {
				Status: deliver.Status{Phase: deliver.Running, Runs: 1}, Sent: 1737, Acked: 1737, Up: true,
				Counters: map[string]uint64{"rotations": 3, "unused": 0},
				Detail:   map[string]any{"path": "/var/log/audit.log", "bytes": 12345678901234567},
			},
			"stream": {
				Status: deliver.Status{
					Phase: deliver.Backoff, Runs: 12, LastError: "dial: \x1b[2Jconnection refused", ErrorAt: at, Rejects: 2, LastReject: "too long",
				},
				Sent: 900, Acked: 800, InFlight: 937, LagRecords: 837, LagSeconds: 12.34,
			},
		},
		Unhit: map[string][]string{"policies": {"web", "p\x1b[2J", "c", "d", "e", "f", "g", "h", "i", "j"}},
		Ledger: metrics.Ledger{
			Events: map[string]metrics.Events{"policy-deny": {Offered: 5, RateLimited: 1, Admitted: 4}},
			Sinks:  map[string]map[string]metrics.Queue{"audit": {}, "stream": {"policy-deny": {Queued: 4, InFlight: 4}}},
		},
	}
}

// statusServer serves a status as a daemon does, and returns its address.
func statusServer(t *testing.T, st pipeline.Status, health func() error) string {
	t.Helper()
	s := httptest.NewServer(metrics.Handler(metrics.NewCollector(func() metrics.Snapshot { return metrics.Snapshot{} }),
		func() any { return st }, health))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func healthy() error { return nil }

func TestStatusGolden(t *testing.T) {
	address := statusServer(t, sampleStatus(), healthy)
	out := mustRun(t, "status", "--address", address)
	compareGolden(t, "cmd/pipelined/testdata/status.golden", strings.ReplaceAll(out, address, "ADDRESS"))
}

func TestStatusJSON(t *testing.T) {
	address := statusServer(t, sampleStatus(), healthy)
	var got, want any
	if err := json.Unmarshal([]byte(mustRun(t, "status", "--json", "-a", address)), &got); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(sampleStatus())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Errorf("%s\nwant\n%s", a, b)
	}
}

// TestStatusSick checks that a daemon which is not healthy is shown, and is a failure.
func TestStatusSick(t *testing.T) {
	address := statusServer(t, sampleStatus(), func() error { return errors.New("worker 0 has made no progress for 12s\nworker 1, too") })
	for _, args := range [][]string{{"status", "-a", address}, {"status", "--json", "-a", address}} {
		out, _, err := invoke(t, args...)
		if err == nil || err.Error() != "not healthy: worker 0 has made no progress for 12s; worker 1, too" {
			t.Errorf("%v: %v", args, err)
		}
		if !strings.Contains(out, "audit") {
			t.Errorf("%v: the status is not shown:\n%s", args, out)
		}
	}
}

// TestStatusAddress finds the daemon where the configuration says, and at the usual place without one.
func TestStatusAddress(t *testing.T) {
	address := statusServer(t, sampleStatus(), healthy)
	config := writeFile(t, "p.toml", "[service]\nmetrics = \""+address+"\"\n")
	if out := mustRun(t, "status", "--config", config); !strings.Contains(out, address+": healthy") {
		t.Errorf("got\n%s", out)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, all := range []string{":" + port, "0.0.0.0:" + port} {
		mustRun(t, "status", "--config", writeFile(t, "p.toml", "[service]\nmetrics = \""+all+"\"\n"))
	}
	inEmptyFolder(t)
	o := statusOptions{daemonFlags: daemonFlags{config: "pipeline.toml"}}
	got, _, err := o.asks(t.Context(), newStatus())
	if usual := append(control.UsualPaths(), "127.0.0.1:9464"); err != nil || !slices.Contains(usual, got) {
		t.Errorf("without a configuration: %q, %v; want one of %q", got, err, usual)
	}
}

func TestStatusRefuses(t *testing.T) {
	closed := net.JoinHostPort("127.0.0.1", ports.Reserve(t))
	other := func(handler http.HandlerFunc) string {
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-a", closed}, `no pipelined can be reached at 127.*: is it running.*connection refused`},
		{[]string{"-a", "1.2.3.4"}, `must be host:port`},
		{[]string{"-a", other(http.NotFound)}, `is no pipelined \(HTTP status 404\)`},
		{[]string{"-a", other(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })}, `is no pipelined`},
		{[]string{"-a", other(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })}, `is no pipelined`},
		{[]string{"-c", "nosuch.toml"}, `give --control`},
		{[]string{"-c", writeFile(t, "p.toml", "[service]\nmetrics = \"x\"\n")}, `give --control`},
		{[]string{"-c", writeFile(t, "p.toml", "[service]\nmetrics = \"\"\ncontrol = \"\"\n")}, `service.control is empty.*service.metrics.*is empty`},
		{[]string{"more"}, `arg|command`},
	} {
		out, _, err := invoke(t, append([]string{"status"}, c.args...)...)
		if err == nil || out != "" || !regexp.MustCompile(c.want).MatchString(err.Error()) {
			t.Errorf("%v: %v does not say %s; output %q", c.args, err, c.want, out)
		}
	}
}

// TestStatusOfPipeline asks a real pipeline, as run serves it.
func TestStatusOfPipeline(t *testing.T) {
	text, err := os.ReadFile("pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	file := strings.Replace(string(text), `"bin/events.log"`, `"`+t.TempDir()+`/events.log"`, 1) +
		"\n[[hooks.policies.policy]]\nname = \"never\"\nfrom = \"partner\"\nto = \"partner\"\nthen = \"permit\"\n"
	p, err := loadPlan(t.Context(), io.Discard, planOptions{path: writeFile(t, "p.toml", file), daemon: true}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := pipeline.Open(t.Context(), p.Plan, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	e := newEndpoints(pl, "", nil, slog.New(slog.NewTextHandler(&log, nil)))
	defer e.close()
	none := ""
	answering, err := e.prepare(&config.Service{Metrics: "127.0.0.1:0", AuthToken: "s3cret", Control: &none}, "")
	if err != nil {
		t.Fatal(err)
	}
	answering.take()
	if err := pl.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(log.String())[1]
	if _, _, err := invoke(t, "status", "-a", address); err == nil || !strings.Contains(err.Error(), "wants another token") {
		t.Errorf("without a token: %v", err)
	}
	out := mustRun(t, "status", "-a", address, "--token-file", writeFile(t, "token", "s3cret\n"))
	for _, want := range []string{
		`(?m)^pipelined at ` + address + `: healthy, up \d+s, epoch \d+$`, `(?m)^source capture +.*packets=5477`,
		`(?m)^ *events +drained +(\d+) +(\d+) +0 +0 +0\.0 +1 *$`, `(?m)^0 unaccounted for$`, `(?m)^hook policies: no packet has hit never$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the status does not say %s:\n%s", want, out)
		}
	}
}

// TestWarnAbsent says at the start which interfaces are not there, each once.
func TestWarnAbsent(t *testing.T) {
	const file = "[sources.fw]\nplugin = \"nflog\"\ngroups = [5]\n[zones.lan]\ninterfaces = [\"lan0\", \"lan1\"]\n[zones.wan]\ninterfaces = [\"wan0\"]\n" +
		"[sinks.out]\nplugin = \"stdout\"\n[pipeline]\nsources = [\"fw\"]\nsinks = [\"out\"]\n"
	p, err := loadPlan(t.Context(), io.Discard, planOptions{path: writeFile(t, "p.toml", file), daemon: true}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	warnAbsent(p.Plan, []string{"lan0", "wan1"}, slog.New(slog.NewTextHandler(&log, nil)))
	if text := log.String(); strings.Count(text, "level=WARN") != 2 || strings.Count(text, `no interface \"lan1\"`) != 1 || strings.Count(text, `no interface \"wan0\"`) != 1 {
		t.Errorf("logged\n%s", text)
	}
	if err := p.host.Close(); err != nil {
		t.Error(err)
	}
}
