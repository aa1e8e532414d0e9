package pluginhost

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/process"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestDoesNotStart starts what is no plugin: Run fails, says why in a line, and leaves no process.
func TestDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/nonexistent/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode, want string
	}{
		{"silent", "did not start in time"},
		{"exits", "exit status 7"},
		{"exits", "no license"},
		{"says hello", "Unrecognized remote plugin message: hello"},
		{"says 1|2|unix|/s|grpc|", "incompatible API version with plugin. Plugin version: 2"},
		{"says 9|1|unix|/s|grpc|", "incompatible core API version"},
		{"says 1|1|tcp|127.0.0.1:1|grpc|", "not a Unix socket in"},
		{"says 1|1|unix|/run/dbus/system_bus_socket|grpc|", "not a Unix socket in"},
		{"says 1|1|unix|$/s|netrpc|", "not a Unix socket in"},
		{"endless", "Unrecognized remote plugin message"},
		{"deaf", "did not start in time"},
		{"deaf with TLS", "set mtls = false"},
		{"babbles", "Configure fails"},
		{"hangs-up", "Configure fails"},
		{"configure-error", `Configure fails: cannot\u001b[31m even`},
		{"configure-hangs", "did not start in time"},
		{"many-problems", "refuses its configuration"},
	} {
		t.Run(c.mode+" "+c.want, func(t *testing.T) {
			h, _ := newHost(t)
			h.timing.start = time.Minute
			if strings.Contains(c.want, "in time") {
				h.timing.start = 2 * time.Second // which passes
			}
			args := strings.SplitN(c.mode, " ", 2)
			more := ""
			if c.mode == "deaf" || args[0] == "babbles" || args[0] == "hangs-up" {
				more = "mtls = false"
			}
			sink := newTestSink(t, h, more, args...)
			err := sinktest.NewStream(t).Run(t.Context(), sink)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Run = %v, want %q in it", err, c.want)
			}
			if n := pid(sink); n != 0 {
				t.Errorf("process %d is there", n)
			}
		})
	}
	h, _ := newHost(t)
	sink := newTestSink(t, h, "")
	sink.options.Command = []string{script}
	if err := sinktest.NewStream(t).Run(t.Context(), sink); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("an executable without its interpreter: %v", err)
	}
}

// TestBreaches runs plugins that break the protocol: nothing that they say reaches the ring, and the process is replaced.
func TestBreaches(t *testing.T) {
	for mode, want := range map[string]string{
		"future-ack":    "record 1000010 was acknowledged, but 10 was the last one sent",
		"future-reject": "record 1000010 was rejected, but 1 to 10 are what it has",
		"past-reject":   "record 1 was rejected, but 11 to 10 are what it has",
		"reject-flood":  "more records were rejected than sent",
		"idle-flood":    "messages in a row that say nothing",
		"credit-flood":  "messages in a row that say nothing",
		"ack-flood":     "messages in a row that say nothing",
		"list-flood":    "messages in a row that say nothing",
		"mixed-flood":   "messages in a row that say nothing",
		"lists-flood":   "lists the sessions over and over",
		"begins-flood":  "lists the sessions over and over",
		"nonsense":      "unmarshal",
		"huge":          "larger than max",
	} {
		t.Run(mode, func(t *testing.T) {
			h, _ := newHost(t)
			sink := newTestSink(t, h, "", mode)
			s := &quiet{Stream: sinktest.NewStream(t)}
			s.Append(sinktest.Records(1, 10)...)
			err := s.Run(t.Context(), sink)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Run = %v, want %q in it", err, want)
			}
			if got := s.Acked(); mode != "past-reject" && mode != "ack-flood" && mode != "mixed-flood" && got != 0 {
				t.Errorf("%d was acknowledged", got)
			}
			if counter(sink, "protocol_breaches") != 1 || pid(sink) != 0 {
				t.Errorf("counters %v, process %d", sink.Counters(), pid(sink))
			}
		})
	}
}

// quiet is a stream that takes the same rejection twice.
type quiet struct{ *sinktest.Stream }

func (q *quiet) Run(ctx context.Context, sink sdk.Sink) error {
	return q.Stream.Run(ctx, once{sink})
}

type once struct{ sink sdk.Sink }

func (o once) Run(ctx context.Context, s sdk.Stream) error {
	return o.sink.Run(ctx, &onceStream{Stream: s, seen: make(map[event.Seq]bool)})
}

type onceStream struct {
	sdk.Stream
	seen map[event.Seq]bool
}

func (o *onceStream) Reject(seq event.Seq, why string) {
	if !o.seen[seq] {
		o.seen[seq] = true
		o.Stream.Reject(seq, why)
	}
}

// TestAllowed runs plugins that do what is odd and allowed: the process stays.
func TestAllowed(t *testing.T) {
	for mode, want := range map[string]string{
		"leaves":    "",
		"no-reason": "",
		"backwards": "",
		"own-error": "destination is down",
	} {
		t.Run(mode, func(t *testing.T) {
			h, _ := newHost(t)
			sink := newTestSink(t, h, "", mode)
			s := sinktest.NewStream(t)
			s.Append(sinktest.Records(1, 10)...)
			err := s.Run(t.Context(), sink)
			if err != nil && err.Error() != want || err == nil && want != "" {
				t.Errorf("Run = %v, want %q", err, want)
			}
			if pid(sink) == 0 {
				t.Error("the process has gone")
			}
			for seq, why := range s.Rejected() {
				if why != "no reason was given, or one too long" {
					t.Errorf("%d was rejected: %.300q", seq, why)
				}
			}
		})
	}
}

// TestNoCredit checks that nothing is sent without credit, and that such a run still ends with its context.
func TestNoCredit(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "no-credit")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	await.Until(t, "the process runs", func() bool { return pid(sink) != 0 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	if n := counter(sink, "records"); n != 0 {
		t.Errorf("%d records were sent", n)
	}
}

// TestNoStream cancels a run whose stream the plugin does not let open.
func TestNoStream(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, `health = "1m"`, "no-room")
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the last stream is taken", func() bool { return len(sink.Status().(Status).LastLines) > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := sinktest.NewStream(t)
	go func() { done <- s.Run(ctx, sink) }()
	cancel()
	wantCanceled(t, sink, done)
}

// wantCanceled waits for a cancelled run to end whatever its process does.
func wantCanceled(t *testing.T, sink *Sink, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the run does not end")
		_ = syscall.Kill(pid(sink), syscall.SIGKILL) // so that the test does
		<-done
	}
}

// TestStuck cancels a run whose sink does not return: ours does.
func TestStuck(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "config.stuck = true")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	await.Until(t, "the records are sent", func() bool { return counter(sink, "records") == 10 })
	cancel()
	wantCanceled(t, sink, done)
}

// TestEndsThoughStuck ends a process whose run does not return: the kit gives it up before the daemon kills it.
func TestEndsThoughStuck(t *testing.T) {
	h, _ := newHost(t)
	h.timing.shutdown = 20 * time.Second // whether a busy machine is fast enough is not the question
	sink := newTestSink(t, h, "config.stuck = true")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	await.Until(t, "the records are sent", func() bool { return counter(sink, "records") == 10 })
	cancel()
	<-done
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if exit := sink.Status().(Status).LastExit; exit != "the plugin has ended, exit status 0" {
		t.Error(exit)
	}
}

// TestHangs stops a process as a debugger does: it does not answer, is killed, and the next run has another one.
func TestHangs(t *testing.T) {
	h, _ := newHost(t)
	h.timing.callEvery = 20 * time.Millisecond
	sink := newTestSink(t, h, "health = \"2s\"")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		defer cancel() // a run that is over acknowledges nothing more
		failed <- s.Run(ctx, sink)
	}()
	if err := s.WaitAcked(ctx, 10); err != nil {
		t.Fatal(<-failed)
	}
	if err := syscall.Kill(pid(sink), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "has not answered for 2s") {
		t.Errorf("Run = %v", err)
	}
	if counter(sink, "process_kills") != 1 {
		t.Errorf("counters %v", sink.Counters())
	}
	sink.options.Health = time.Minute // the next one is well, however long it takes to say so
	s.Append(sinktest.Records(1, 10)...)
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil {
		t.Error(err)
	}
}

// TestClosesWhatHangs closes a sink whose process does not listen.
func TestClosesWhatHangs(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "")
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	process := pid(sink)
	if err := syscall.Kill(process, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil || exists(process) {
		t.Errorf("Close = %v, process %v", err, exists(process))
	}
}

// TestIll kills a process that says it is not well, in its own words.
func TestIll(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "ill")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	if err := s.Run(t.Context(), sink); err == nil || !strings.Contains(err.Error(), "feverish") {
		t.Errorf("Run = %v", err)
	}
}

// TestDiesInHealth ends a process while it is asked for its health: nobody has killed it, and that is told once.
func TestDiesInHealth(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "dies-in-health")
	err := sinktest.NewStream(t).Run(t.Context(), sink)
	if err == nil || !strings.HasPrefix(err.Error(), "the plugin has ended, exit status 3: ") {
		t.Errorf("Run = %v", err)
	}
	if n := counter(sink, "process_kills"); n != 0 {
		t.Errorf("%d kills", n)
	}
}

// TestOddHealth checks that only what fits is taken from an answer.
func TestOddHealth(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "odd-health")
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the counters are there", func() bool { return counter(sink, "plugin_good") == 2 })
	if n := len(sink.Counters()); n > 100 {
		t.Errorf("%d counters", n)
	}
	if st := sink.Status().(Status); st.Plugin != nil {
		t.Errorf("status %s", st.Plugin)
	}
}

// TestRenamedCounters runs processes that have other counters each: there are only so many, and those that are there go on.
func TestRenamedCounters(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "renames")
	for n := range uint64(5) {
		p, err := sink.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		await.Until(t, "the process is counted", func() bool { return counter(sink, "plugin_a") == n+1 })
		own := 0
		for _, c := range sink.Counters() {
			if strings.HasPrefix(c.Name, "plugin_") {
				own++
			}
		}
		if own > maxCounters {
			t.Errorf("%d counters after %d processes", own, n+1)
		}
		sink.discard(p, nil)
	}
}

// TestPanics checks that a panic of a run is an error of that run.
func TestPanics(t *testing.T) {
	h, log := newHost(t)
	sink := newTestSink(t, h, "config.panic = true")
	if err := sinktest.NewStream(t).Run(t.Context(), sink); err == nil || err.Error() != "panic: on purpose" {
		t.Errorf("Run = %v", err)
	}
	if pid(sink) == 0 {
		t.Error("the process has gone")
	}
	await.Until(t, "the stack is in the log", func() bool { return strings.Contains(log.String(), "testSink") })
}

// TestP6Dies runs a process that exits under load until it is through: nothing is missing at its destination.
func TestP6Dies(t *testing.T) {
	h, _ := newHost(t)
	path := filepath.Join(t.TempDir(), "out")
	sink := newTestSink(t, h, fmt.Sprintf("config.path = %q\nconfig.die = 700", path))
	s := sinktest.NewStream(t)
	s.SetBatch(100)
	s.Append(sinktest.Records(1, 3000)...)
	s.Drain()
	runs := 0
	for ; s.Acked() < 3000; runs++ {
		if err := s.Run(t.Context(), sink); err == nil {
			break
		} else if !strings.Contains(err.Error(), "exit status 3") {
			t.Fatal(err)
		}
	}
	if runs < 3 {
		t.Errorf("%d runs", runs)
	}
	if got := len(delivered(t, path)); got != 3000 {
		t.Errorf("%d records are there, want 3000", got)
	}
}

// TestFloodsOutput floods standard error: records are delivered, and the log gets some of it.
func TestFloodsOutput(t *testing.T) {
	h, log := newHost(t)
	sink := newTestSink(t, h, "config.print = 20000")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 1000)...)
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "all lines are read", func() bool { return counter(sink, "output_lines") == 20000 })
	if n := strings.Count(log.String(), "plugin says"); n < 50 || n > 1000 {
		t.Errorf("%d lines were logged", n)
	}
	if counter(sink, "output_lines_left_out") < 19000 {
		t.Errorf("counters %v", sink.Counters())
	}
	st := sink.Status().(Status)
	if len(st.LastLines) != 20 || st.LastLines[19] != "line 19999" {
		t.Errorf("last lines %q", st.LastLines)
	}
}

// TestStandardOutput checks that what a plugin prints after the handshake is in the log, whichever way it takes.
func TestStandardOutput(t *testing.T) {
	h, log := newHost(t)
	newTestSink(t, h, "", "prints")
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"past the kit....", `and after a long line"`, `through the kit"`} {
		await.Until(t, line, func() bool { return strings.Contains(log.String(), `line="`+line) })
	}
	if strings.Contains(log.String(), "|unix|") {
		t.Error("the handshake is in the log")
	}
}

// TestClosedWhileStarting closes a sink whose process is being started and does not get anywhere.
func TestClosedWhileStarting(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "silent")
	done := make(chan error, 1)
	go func() { done <- sinktest.NewStream(t).Run(t.Context(), sink) }()
	await.Until(t, "a process is started", func() bool { return counter(sink, "process_starts") == 1 })
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the run did not fail")
	}
	if err := sinktest.NewStream(t).Run(t.Context(), sink); !errors.Is(err, process.ErrClosed) {
		t.Errorf("Run after Close = %v", err)
	}
}

// TestConfigureBounded configures plugins that get nowhere, all together for a while, and goes on with the one that works.
func TestConfigureBounded(t *testing.T) {
	h, _ := newHost(t)
	newTestSink(t, h, "", "silent")
	newTestSink(t, h, "", "silent")
	works := newTestSink(t, h, "")
	cause := errors.New("enough was waited")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Configure(ctx, []string{"mine"}) }()
	await.Until(t, "the plugin that works runs", func() bool { return pid(works) != 0 })
	cancel(cause)
	if err := <-done; err == nil || strings.Count(err.Error(), cause.Error()) != 2 {
		t.Errorf("Configure = %v", err)
	}
}

// TestBreaker opens the breaker with a process that never gets anywhere: none is started while it is open.
func TestBreaker(t *testing.T) {
	h, _ := newHost(t)
	h.timing.cooldown = time.Hour // which does not pass, however busy the machine is
	s := sinktest.NewStream(t)
	sink := openBreaker(t, h, s, filepath.Join(t.TempDir(), "missing"))
	starts := counter(sink, "process_starts")
	for range 3 {
		if err := s.Run(t.Context(), sink); err == nil || !strings.Contains(err.Error(), "failed 5 times in a row; it is tried again at") {
			t.Fatalf("Run = %v", err)
		}
	}
	if st := sink.Status().(Status); st.Breaker != "open" || st.RetryAt.IsZero() {
		t.Errorf("status %+v", st)
	}
	if n := counter(sink, "process_starts"); n != starts {
		t.Errorf("%d starts while the breaker was open", n-starts)
	}
}

// TestBreakerProbes tries one process after the cooldown. One that fails opens the breaker again, one that works closes it.
func TestBreakerProbes(t *testing.T) {
	h, _ := newHost(t)
	mark := filepath.Join(t.TempDir(), "works")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	s.Drain()
	sink := openBreaker(t, h, s, mark)
	retryAt := func() time.Time { // not in the status of a breaker whose cooldown has passed
		sink.mu.Lock()
		defer sink.mu.Unlock()
		return sink.retryAt
	}
	starts, opened := counter(sink, "process_starts"), retryAt()
	await.Until(t, "a probe", func() bool {
		return s.Run(t.Context(), sink) != nil && counter(sink, "process_starts") == starts+1
	})
	if again := retryAt(); !again.After(opened) {
		t.Errorf("tried again at %v after a failed probe, and at %v before", again, opened)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "a probe that works", func() bool { return s.Run(t.Context(), sink) == nil })
	if st := sink.Status().(Status); st.Breaker != "closed" || s.Acked() != 10 {
		t.Errorf("status %+v, acknowledged %d", st, s.Acked())
	}
}

// openBreaker returns a sink whose process fails until there is a file of that name, and has failed often enough.
func openBreaker(t *testing.T, h *Host, s *sinktest.Stream, mark string) *Sink {
	t.Helper()
	sink := newTestSink(t, h, "", "needsfile", mark)
	for range h.timing.failures {
		if err := s.Run(t.Context(), sink); err == nil || !strings.Contains(err.Error(), "exit status 1") {
			t.Fatalf("Run = %v", err)
		}
	}
	return sink
}

// TestChecksum changes the executable under a pin.
func TestChecksum(t *testing.T) {
	h, _ := newHost(t)
	data, err := os.ReadFile(executablePath(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
	pin := fmt.Sprintf("sha256 = \"%x\"", sha256.Sum256(data))
	sink := newTestSink(t, h, pin)
	sink.options.Command[0] = path
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(data, 0), 0o700); err != nil {
		t.Fatal(err)
	}
	h2, _ := newHost(t)
	sink = newTestSink(t, h2, pin)
	sink.options.Command[0] = path
	if err := s.Run(t.Context(), sink); err == nil || !strings.Contains(err.Error(), "is another file: its SHA-256 is") {
		t.Errorf("Run = %v", err)
	}
	if n := counter(sink, "process_starts"); n != 1 {
		t.Errorf("%d starts", n)
	}
}

// TestEnvironment checks that only what is named is inherited.
func TestEnvironment(t *testing.T) {
	t.Setenv("PASSED_ON", "yes")
	t.Setenv("SECRET", "no")
	h, _ := newHost(t)
	path := filepath.Join(t.TempDir(), "env")
	sink := newTestSink(t, h, "", "environment", path)
	sink.options.Env = []string{"PASSED_ON", "NOT_SET", "LEVEL=debug"}
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	env := make(map[string]string)
	for line := range strings.SplitSeq(string(text), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	if env["PASSED_ON"] != "yes" || env["LEVEL"] != "debug" || env["PIPELINED_PLUGIN"] != "sink" {
		t.Errorf("lacks something: %v", env)
	}
	for _, name := range []string{"SECRET", "NOT_SET", "HOME", "PATH"} {
		if _, ok := env[name]; ok {
			t.Errorf("%s is inherited", name)
		}
	}
}

// TestUser runs a process as another user, in a process group of its own.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	daemon, err := user.LookupGroup("daemon")
	if err != nil {
		t.Fatal(err)
	}
	h, _ := newHost(t)
	dir, err := os.MkdirTemp("/var/tmp", "pu") // others cannot enter a test's directory
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(executablePath(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "copy")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, pin := range []string{"", fmt.Sprintf("%x", sha256.Sum256(data))} {
		sink := newTestSink(t, h, "user = \"nobody\"\ngroup = \"daemon\"", "id")
		sink.options.Command[0], sink.options.SHA256 = path, pin
		s := sinktest.NewStream(t)
		s.Append(sinktest.Records(1, 10)...)
		s.Drain()
		if err := s.Run(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		want := "I am " + nobody.Uid + " " + daemon.Gid + " 0"
		await.Until(t, want, func() bool { return strings.Contains(strings.Join(sink.Status().(Status).LastLines, "\n"), want) })
	}
}

// toldNumber waits for a number in a file.
func toldNumber(t *testing.T, path string) (n int) {
	t.Helper()
	await.Until(t, "a number in "+path, func() bool {
		text, err := os.ReadFile(path)
		if err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	return n
}

// gone reports whether a process has ended; what is left of it may wait for whoever is its parent now.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}

// TestEscapedChild ends a plugin whose child has left the group and holds standard error open: nothing waits for it, and it
// is swept with what else a daemon has left behind.
func TestEscapedChild(t *testing.T) {
	h, _ := newHost(t)
	path := filepath.Join(t.TempDir(), "pid")
	sink := newTestSink(t, h, "", "orphan", path)
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	child := toldNumber(t, path)
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if gone(child) {
		t.Error("the child has ended: it did not escape")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the child has gone", func() bool { return gone(child) })
}
