package pluginhost

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestConform holds a sink in another process against the suite that every sink has to pass.
func TestConform(t *testing.T) {
	sinktest.Conform(t, func(t *testing.T) sdk.Sink {
		h, _ := newHost(t)
		return newTestSink(t, h, "")
	})
}

// TestConformWithoutTLS does the same over a bare socket.
func TestConformWithoutTLS(t *testing.T) {
	sinktest.Conform(t, func(t *testing.T) sdk.Sink {
		h, _ := newHost(t)
		return newTestSink(t, h, "mtls = false")
	})
}

// TestP6Delivers delivers to a destination and looks there: every record, once, in order, with its epoch.
func TestP6Delivers(t *testing.T) {
	h, _ := newHost(t)
	path := filepath.Join(t.TempDir(), "out")
	sink := newTestSink(t, h, "config.path = \""+path+"\"\nconfig.reject = 100")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 5000)...)
	s.SetBatch(3000) // more than a message carries
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil {
		t.Fatal(err)
	}
	got := delivered(t, path)
	for seq := event.Seq(1); seq <= 5000; seq++ {
		if got[seq] != 1 {
			t.Fatalf("record %d was delivered %d times", seq, got[seq])
		}
	}
	if got := s.Rejected(); len(got) != 50 || got[100] != "on purpose" {
		t.Errorf("rejected: %v", got)
	}
}

// TestNames checks that names arrive with the records of their generation.
func TestNames(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "names")
	s := sinktest.NewStream(t)
	for generation := range uint32(3) {
		n := sinktest.Names()
		n.Generation = generation
		n.Policies = []string{"", "policy of generation " + string(rune('0'+generation))}
		s.SetNames(n)
		for _, r := range sinktest.Records(1, 50) {
			r.Generation = generation
			s.Append(r)
		}
	}
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil {
		t.Error(err)
	}
}

// TestSessionsAndDraining checks what a stream offers beside records: the sessions that live, and word of the end.
func TestSessionsAndDraining(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "lists")
	s := sinktest.NewStream(t)
	s.SetSessions(sinktest.Records(1, 2000)...)
	s.Append(sinktest.Records(2, 10)...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	await.Until(t, "the records are sent", func() bool { return counter(sink, "records") == 10 })
	s.Drain()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := s.Acked(); got != 10 {
		t.Errorf("acknowledged up to %d", got)
	}
}

// TestListings cuts lists where the configuration's generation changes.
func TestListings(t *testing.T) {
	down := new(downs)
	s := sinktest.NewStream(t)
	sessions := sinktest.Records(1, 1200)
	for i := range sessions {
		sessions[i].Generation = uint32(i / 500)
	}
	s.SetSessions(sessions...)
	err := s.Run(t.Context(), runFunc(func(_ context.Context, stream sdk.Stream) error {
		d := &delivery{call: down, stream: stream, names: make(map[uint32]bool), lists: rate.NewLimiter(1, listBurst)}
		defer d.list.stop()
		for i := range 10 {
			if goesOn, err := d.sessions(7); err != nil || goesOn != (i == 1 || i == 2) {
				t.Errorf("%v, %v", goesOn, err)
			}
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if want := []uint32{500, 500, 200, 0, 0, 0, 0, 0, 0, 0}; !slices.Equal(down.counts, want) {
		t.Errorf("%v, want %v", down.counts, want)
	}
}

// downs keeps the sizes of Sessions messages.
type downs struct {
	tape
	counts []uint32
}

func (d *downs) Send(m *sinkv1.Down) error {
	if s := m.GetSessions(); s != nil {
		d.counts = append(d.counts, s.GetCount())
	}
	return nil
}

type runFunc func(ctx context.Context, s sdk.Stream) error

func (f runFunc) Run(ctx context.Context, s sdk.Stream) error { return f(ctx, s) }

// TestProcessStays pins what becomes of the process between two runs.
func TestProcessStays(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "config.fail = 10")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 20)...)
	if err := s.Run(t.Context(), sink); err == nil || err.Error() != "failed on purpose" {
		t.Fatalf("Run = %v", err)
	}
	first := pid(sink)
	if first == 0 {
		t.Fatal("the process has gone with a failure of its destination")
	}
	if err := s.Run(t.Context(), sink); err == nil {
		t.Fatal("the second run did not fail")
	}
	if pid(sink) != first {
		t.Error("another process")
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if exists(first) {
		t.Error("the process has outlived Close")
	}
	if err := s.Run(t.Context(), sink); err == nil {
		t.Error("a closed sink runs")
	}
}

func pid(s *Sink) int { return s.Status().(Status).PID }

func exists(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// TestP6Killed kills the process under a run: the run fails and says how, the next one has another process and goes on.
func TestP6Killed(t *testing.T) {
	h, _ := newHost(t)
	path := filepath.Join(t.TempDir(), "out")
	sink := newTestSink(t, h, "config.path = \""+path+"\"")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 1000)...)
	failed := make(chan error, 1)
	go func() { failed <- s.Run(t.Context(), sink) }()
	if err := s.WaitAcked(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid(sink), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("Run = %v", err)
	}
	s.Append(sinktest.Records(2, 1000)...)
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil {
		t.Fatal(err)
	}
	if got := len(delivered(t, path)); got != 2000 {
		t.Errorf("%d records are there, want 2000", got)
	}
	if st := sink.Status().(Status); !strings.Contains(st.LastExit, "signal: killed") || st.PID == 0 {
		t.Errorf("status %+v", st)
	}
}

// TestConfigure checks that a plugin's mistakes stand where they are in the configuration.
func TestConfigure(t *testing.T) {
	h, _ := newHost(t)
	section, problems := config.ParseTable("p.toml", []byte(
		"[sinks.mine]\nplugin = \"exec\"\ncommand = ["+quote(executablePath(t))+", \"plugin\"]\n[sinks.mine.config]\npath = 1\nfial = 2\nfail = -1\n"),
		"sinks", "mine")
	h.Exec().Configure(section, sdk.Env{})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if got := h.Unchecked(); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("unchecked: %v", got)
	}
	if err := h.Configure(t.Context(), []string{"mine", "other"}); err != nil {
		t.Fatal(err)
	}
	want := "p.toml:5:1: sinks.mine.config.path: must be a string, not 1\n" +
		`p.toml:6:1: sinks.mine.config.fial: unknown key; did you mean "fail"?`
	if err := problems.Err(); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if got := h.Unchecked(); got != nil {
		t.Errorf("unchecked: %v", got)
	}
}

// TestReopenAndCounters checks what goes beside the stream.
func TestReopenAndCounters(t *testing.T) {
	h, _ := newHost(t)
	h.timing.callEvery = 5e6
	sink := newTestSink(t, h, "")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	if err := s.WaitAcked(ctx, 10); err != nil {
		t.Fatal(err)
	}
	sink.Reopen()
	await.Until(t, "the plugin was asked to reopen", func() bool { return counter(sink, "plugin_reopens") == 1 })
	await.Until(t, "the plugin tells what it has seen", func() bool {
		return counter(sink, "plugin_seen") == 10 && string(sink.Status().(Status).Plugin) == `{"seen":10}`
	})
	if n := counter(sink, "records"); n != 10 {
		t.Errorf("%d records were sent", n)
	}
	cancel()
	<-done
}

func counter(s *Sink, name string) uint64 {
	for _, c := range s.Counters() {
		if c.Name == name {
			return c.Value
		}
	}
	return 0
}

// TestCountersSurvive kills a plugin's process, and closes the sink: what the plugin has counted stays.
func TestCountersSurvive(t *testing.T) {
	h, _ := newHost(t)
	h.timing.callEvery = time.Millisecond
	sink := newTestSink(t, h, "")
	for n := 1; n <= 2; n++ {
		s := sinktest.NewStream(t)
		s.Append(sinktest.Records(1, 10)...)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx, sink) }()
		if err := s.WaitAcked(ctx, 10); err != nil {
			t.Fatal(err)
		}
		await.Until(t, "the plugin has said what it counts", func() bool { return counter(sink, "plugin_seen") == uint64(10*n) })
		if err := syscall.Kill(pid(sink), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-done
		cancel()
		if got := counter(sink, "plugin_seen"); got != uint64(10*n) {
			t.Errorf("after kill %d: %d", n, got)
		}
	}
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if got := counter(sink, "plugin_seen"); got != 20 {
		t.Errorf("after the end: %d", got)
	}
}
