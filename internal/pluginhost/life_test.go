package pluginhost

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/internal/process"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/logbuffer"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// line is a sink's delivery over a real ring, and a producer that fills it.
type line struct {
	ring     *replay.Ring
	delivery *deliver.Delivery
	done     chan struct{}
	sample   []event.Record
	made     event.Seq
}

func newLine(tb testing.TB, name string, sink sdk.Sink) *line {
	tb.Helper()
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 1366})
	if err != nil {
		tb.Fatal(err)
	}
	l := &line{ring: ring, done: make(chan struct{}), sample: []event.Record{sinktest.Record(event.SessionOpen, 1)}}
	l.delivery = deliver.New(deliver.Config{
		Name: name, Sink: sink, Ring: ring, Epoch: 7, Log: slog.New(slog.DiscardHandler),
		Names: func(g uint32) *event.Names { return &event.Names{Generation: g} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(l.done)
		l.delivery.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-l.done
	})
	return l
}

// put appends up to n records, as many as there is room for.
func (l *line) put(n int) int {
	n = l.ring.Acquire(replay.Priority, n)
	if n == 0 {
		return 0
	}
	first := l.ring.Claim(n)
	for i := range n {
		l.sample[0].SetTime(time.Now().UnixNano())
		l.ring.Put(first+event.Seq(i), replay.Priority, &l.sample[0])
	}
	l.ring.Wake()
	l.made += event.Seq(n)
	return n
}

// TestP6KilledHundredTimes kills a plugin with SIGKILL a hundred times under load. Nothing is missing at its destination, and what is there
// twice can be recognised by epoch and sequence number.
func TestP6KilledHundredTimes(t *testing.T) {
	kills := event.Seq(100)
	if race.Enabled {
		kills = 20
	}
	h, _ := newHost(t)
	path := filepath.Join(t.TempDir(), "out")
	sink := newTestSink(t, h, fmt.Sprintf("config.path = %q\nmtls = false", path))
	l := newLine(t, "mine", sink)
	for range kills {
		before := l.ring.Floor()
		await.Until(t, "the plugin delivers", func() bool {
			l.put(100)
			return l.ring.Floor() > before+100 && pid(sink) != 0
		})
		l.put(8192)
		process := pid(sink)
		if process == 0 {
			continue
		}
		if err := syscall.Kill(process, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await.Until(t, "the process has gone", func() bool { return pid(sink) != process })
	}
	l.ring.Drain()
	select {
	case <-l.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not drain: %+v, %+v", l.delivery.Status(), sink.Status())
	}
	got := delivered(t, path)
	twice := 0
	for seq := event.Seq(1); seq <= l.made; seq++ {
		switch n := got[seq]; {
		case n == 0:
			t.Fatalf("record %d of %d is missing", seq, l.made)
		case n > 1:
			twice++
		}
	}
	if len(got) != int(l.made) {
		t.Errorf("%d different records are there, %d were made", len(got), l.made)
	}
	if n := counter(sink, "process_starts"); n < uint64(kills) {
		t.Errorf("only %d processes", n)
	}
	t.Logf("%d records, %d of them more than once, %d processes", l.made, twice, counter(sink, "process_starts"))
}

// TestRestartsLeakNothing starts and kills hundreds of processes and looks for what they leave.
func TestRestartsLeakNothing(t *testing.T) {
	rounds := 300
	if race.Enabled {
		rounds = 50
	}
	h, _ := newHost(t)
	h.timing.failures = 1 << 30
	sinks := []*Sink{newTestSink(t, h, "mtls = false"), newTestSink(t, h, "")}
	round := func(i int) {
		sink := sinks[0]
		if i%10 == 0 {
			sink = sinks[1]
		}
		s := sinktest.NewStream(t)
		s.Append(sinktest.Record(event.PolicyDeny, 1))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		failed := make(chan error, 1)
		go func() { failed <- s.Run(ctx, sink) }()
		if err := s.WaitAcked(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if i == 0 && leftovers(t, h).children == 0 {
			t.Fatal("a living process is not seen: nor would a zombie be")
		}
		if err := syscall.Kill(pid(sink), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err == nil {
			t.Fatal("the run did not fail")
		}
	}
	for i := range 20 { // what is made once
		round(i)
	}
	before := leftovers(t, h)
	for i := range rounds {
		round(i)
	}
	var after leftover
	await.Until(t, "everything is given back", func() bool {
		after = leftovers(t, h)
		return after.goroutines <= before.goroutines && after.files <= before.files
	})
	if after.children != before.children || after.sockets != before.sockets || after.threads > before.threads+4 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	t.Logf("%d restarts: before %+v, after %+v", rounds, before, after)
}

// leftover is what a process can leave behind in its parent.
type leftover struct{ goroutines, files, children, sockets, threads int }

func leftovers(t *testing.T, h *Host) leftover {
	t.Helper()
	count := func(pattern string) int {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	children := 0
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err == nil { // the thread may have ended
			children += len(strings.Fields(string(text)))
		}
	}
	return leftover{
		goroutines: runtime.NumGoroutine(), files: count("/proc/self/fd/*"), children: children,
		sockets: count(filepath.Join(instanceDir(t, h), "*")), threads: count("/proc/self/task/*"),
	}
}

// TestP7Allocations counts what the host allocates per record when it is busy.
func TestP7Allocations(t *testing.T) {
	if race.Enabled {
		return // the race detector allocates
	}
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "count")
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	const records = 500_000
	f := newFlood(records)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := sink.Run(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if per := float64(after.Mallocs-before.Mallocs) / records; per > 0.1 {
		t.Errorf("%.3f allocations per record", per)
	}
}

// TestDaemonKilled kills a daemon with SIGKILL: its plugin goes with it, and what escaped that is swept by the next daemon.
func TestDaemonKilled(t *testing.T) {
	dir, err := os.MkdirTemp("/run", "pt")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pids := t.TempDir()
	var said bytes.Buffer
	daemon := exec.Command(executablePath(t), pluginArg, "daemon", dir, filepath.Join(pids, "plugin"), filepath.Join(pids, "child"))
	daemon.Stderr = &said
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	plugin, child := toldNumber(t, filepath.Join(pids, "plugin")), toldNumber(t, filepath.Join(pids, "child"))
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
	await.Until(t, "the plugin has gone", func() bool { return gone(plugin) })
	if gone(child) {
		t.Errorf("the child did not escape: %s", said.String())
	}
	log := new(logbuffer.Buffer)
	h := New(Options{RuntimeDir: dir, Log: textLog(log)})
	h.Sweep()
	await.Until(t, "what escaped has gone", func() bool { return gone(child) })
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if !strings.Contains(log.String(), "processes=1") {
		t.Errorf("log: %s", log.String())
	}
}

// serveDaemon is a daemon with one plugin, which has a child that escapes. It says both numbers and waits to be killed.
func serveDaemon(dir, pluginPath, childPath string) {
	h := New(Options{RuntimeDir: dir, Log: textLog(os.Stderr)})
	o := newOptions(defaultOptions(), []string{os.Args[0], pluginArg, "orphan", childPath}, "", "")
	sink := h.add(newSink(h, nameOnly("mine"), sdk.Env{}, o, "{}"))
	p, err := sink.acquire(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tell(pluginPath, p.process.PID())
	time.Sleep(time.Hour)
}

// nameOnly is a configuration that has nothing but a name.
type nameOnly string

func (n nameOnly) Name() string                { return string(n) }
func (nameOnly) Decode(any) bool               { return true }
func (nameOnly) Errorf(string, string, ...any) {}
func (nameOnly) Warnf(string, string, ...any)  {}

// TestP8Isolation measures a sink beside a plugin that spins, floods, hangs and is killed over and over: it delivers everything
// meanwhile. What it costs is a figure of BenchmarkPluginNeighbour.
func TestP8Isolation(t *testing.T) {
	for _, bad := range [][]string{{"spins"}, {"silent"}, {"exits"}, {"idle-flood"}, {"future-ack"}, {"no-credit"}, {"endless"}} {
		t.Run(bad[0], func(t *testing.T) {
			h, _ := newHost(t)
			h.timing.start = time.Second
			broken := newLine(t, "broken", newTestSink(t, h, "", bad...))
			good := newLine(t, "good", sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) { return b.Len(), nil }))
			for good.made < 100_000 {
				broken.put(64)
				good.put(64)
			}
			await.Until(t, "the other sink has everything", func() bool { return good.ring.Floor() == good.made+1 })
			if bad[0] != "spins" && broken.ring.State().Released.Acknowledged[event.SessionOpen] != 0 {
				t.Error("records of the broken plugin were acknowledged")
			}
		})
	}
}

// BenchmarkPluginNeighbour measures admission to acknowledgement of another sink, alone and beside a plugin that is killed
// all the time.
func BenchmarkPluginNeighbour(b *testing.B) {
	for _, killed := range []bool{false, true} {
		name := "alone"
		if killed {
			name = "beside-kills"
		}
		b.Run(name, func(b *testing.B) {
			stop := make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(done)
				if killed {
					keepKilling(b, stop)
				}
			}()
			took := make([]time.Duration, 0, b.N)
			acked := make(chan struct{}, 1)
			l := newLine(b, "good", sdk.Writer(func(_ context.Context, batch sdk.Batch) (int, error) {
				took = append(took, time.Duration(time.Now().UnixNano()-batch.Records[0].Time()))
				acked <- struct{}{}
				return batch.Len(), nil
			}))
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			b.ResetTimer()
			for range b.N {
				<-pace.C
				l.put(1)
				<-acked
			}
			b.StopTimer()
			close(stop)
			<-done
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
		})
	}
}

// keepKilling feeds a plugin and kills it whenever it has a process.
func keepKilling(b *testing.B, stop <-chan struct{}) {
	h, _ := newHost(b)
	sink := newTestSink(b, h, "")
	l := newLine(b, "mine", sink)
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for {
		l.put(1000)
		if process := pid(sink); process != 0 && l.ring.Floor() > 1 {
			_ = syscall.Kill(process, syscall.SIGKILL) // it may have gone
		}
		select {
		case <-pace.C:
		case <-stop:
			return
		}
	}
}

// TestMemoryLimit runs a plugin that eats memory under a limit: the kernel kills it, and only it.
func TestMemoryLimit(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "memory = \"64MiB\"\ncpu = 0.5", "eats")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	err := s.Run(t.Context(), sink)
	if st := sink.Status().(Status); st.Limits != "" {
		if os.Getenv("PIPELINED_REQUIRE_CGROUPS") == "1" {
			t.Fatal(st.Limits)
		}
		t.Skip(st.Limits)
	}
	if err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("Run = %v", err)
	}
	if len(controlGroups(t, h)) == 0 {
		t.Error("there was no control group")
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if left := controlGroups(t, h); len(left) > 0 {
		t.Errorf("%s are left", left)
	}
}

// controlGroups returns the directories of the control groups of a host's processes.
func controlGroups(t *testing.T, h *Host) (dirs []string) {
	t.Helper()
	prefix := "pipelined-" + filepath.Base(instanceDir(t, h)) + "-"
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), prefix) {
			dirs = append(dirs, path)
		}
		return nil // groups of others come and go
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// instanceDir returns the directory of a host's daemon.
func instanceDir(t *testing.T, h *Host) string {
	t.Helper()
	dir, err := h.processes.Dir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLimitsNotInForce runs a plugin where control groups do not allow its limits: it runs, and says so.
func TestLimitsNotInForce(t *testing.T) {
	dir := runtimeDir(t) // removed after the host is closed
	h, log := newHost(t)
	h.processes = process.New(process.Config{SocketDir: socketDir, Proc: t.TempDir(), RuntimeDir: func() (string, error) { return dir, nil }})
	sink := newTestSink(t, h, "memory = \"64MiB\"")
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	if st := sink.Status().(Status); st.Limits == "" || st.PID == 0 || !strings.Contains(log.String(), "not in force") {
		t.Errorf("status %+v, log %s", st, log.String())
	}
}
