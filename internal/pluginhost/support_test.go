package pluginhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/testing/logbuffer"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// The test binary is its own plugin: with "plugin" as its first argument it serves the sink below.
const pluginArg = "plugin"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == pluginArg {
		serveTestPlugin(os.Args[2:])
		return
	}
	goleak.VerifyTestMain(m)
}

// testSink is a sink with the faults that its options ask for. It appends "epoch sequence" of each record to a file.
type testSink struct {
	o     testOptions
	out   *os.File
	seen  atomic.Uint64
	reops atomic.Uint64
}

type testOptions struct {
	Path   string `toml:"path"`   // "" writes nothing
	Fail   int    `toml:"fail"`   // a run fails after so many records
	Reject int    `toml:"reject"` // every so many-th record is rejected
	Future bool   `toml:"future"` // acknowledges what it never got
	Hoard  bool   `toml:"hoard"`  // takes and never acknowledges
	Die    int    `toml:"die"`    // the process exits after so many records
	Panic  bool   `toml:"panic"`  // a run panics
	Stuck  bool   `toml:"stuck"`  // a run neither takes nor returns
	Print  int    `toml:"print"`  // lines on standard error before it begins
	Delay  string `toml:"delay"`  // before an acknowledgement
}

func testPlugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name: "test", Summary: "a sink with faults", Sample: "# none\n",
		Configure: func(cfg sdk.Config, env sdk.Env) sdk.Sink {
			s := new(testSink)
			if !cfg.Decode(&s.o) {
				return nil
			}
			if s.o.Fail < 0 {
				cfg.Errorf("fail", "must not be negative")
			}
			return s
		},
	}
}

func (s *testSink) Status() any { return map[string]uint64{"seen": s.seen.Load()} }
func (s *testSink) Counters() []sdk.Counter {
	return []sdk.Counter{{Name: "seen", Value: s.seen.Load()}, {Name: "reopens", Value: s.reops.Load()}}
}
func (s *testSink) Reopen() { s.reops.Add(1) }

func (s *testSink) Close() error {
	if s.out != nil {
		return s.out.Close()
	}
	return nil
}

func (s *testSink) Run(ctx context.Context, stream sdk.Stream) error {
	for i := range s.o.Print {
		fmt.Fprintf(os.Stderr, "line %d\n", i)
	}
	switch {
	case s.o.Panic:
		panic("on purpose")
	case s.o.Stuck:
		time.Sleep(time.Hour)
	}
	if s.o.Path != "" && s.out == nil {
		f, err := os.OpenFile(s.o.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		s.out = f
		fmt.Fprintln(f) // ends what a process that was killed has torn
	}
	delay, _ := time.ParseDuration(s.o.Delay)
	var lines []byte
	for {
		b, err := stream.Next(ctx, -1)
		if err != nil {
			return err
		}
		lines = lines[:0]
		for i := range b.Records {
			seq := b.Records[i].Seq()
			lines = fmt.Appendf(lines, outLine, stream.Epoch(), seq)
			if s.o.Reject > 0 && int(seq)%s.o.Reject == 0 {
				stream.Reject(seq, "on purpose")
			}
			n := int(s.seen.Add(1))
			if s.o.Die > 0 && n >= s.o.Die {
				os.Exit(3)
			}
			if s.o.Fail > 0 && n >= s.o.Fail {
				return errors.New("failed on purpose")
			}
		}
		if s.out != nil {
			if _, err := s.out.Write(lines); err != nil {
				return err
			}
		}
		if delay > 0 {
			time.Sleep(delay)
		}
		if s.o.Hoard {
			continue
		}
		if err := stream.Ack(b.Last()); err != nil {
			return err
		}
	}
}

// namesPlugin is a sink that fails unless each record's policy is called after its generation.
func namesPlugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{Name: "names", Configure: func(sdk.Config, sdk.Env) sdk.Sink { return namesSink{} }}
}

// listsPlugin is a sink that fails unless the sessions are those of sinktest.Records(1, 2000), in three lists of which the second is
// not read to its end; it returns when the daemon begins to stop.
func listsPlugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{Name: "lists", Configure: func(sdk.Config, sdk.Env) sdk.Sink { return listsSink{} }}
}

type listsSink struct{}

func (listsSink) Run(ctx context.Context, s sdk.Stream) error {
	want := sinktest.Records(1, 2000)
	for _, limit := range []int{len(want), 700, len(want)} {
		i := 0
		for r := range s.(sdk.SessionLister).Sessions() {
			if i == limit {
				break
			}
			if *r != want[i] {
				return fmt.Errorf("session %d differs", i)
			}
			if s.Names(r.Generation).Zone(1) != "trust" {
				return fmt.Errorf("session %d has no names", i)
			}
			i++
		}
		if i != limit {
			return fmt.Errorf("%d sessions, want %d", i, limit)
		}
	}
	select {
	case <-s.(sdk.DrainNotifier).Draining():
	case <-ctx.Done():
		return ctx.Err()
	}
	b, err := s.Next(ctx, -1)
	if err != nil {
		return err
	}
	if err := s.Ack(b.Last()); err != nil {
		return err
	}
	_, err = s.Next(ctx, -1)
	return err
}

// countPlugin is a sink that only counts.
func countPlugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{Name: "count", Configure: func(sdk.Config, sdk.Env) sdk.Sink {
		return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) { return b.Len(), nil })
	}}
}

type namesSink struct{}

func (namesSink) Run(ctx context.Context, s sdk.Stream) error {
	return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
		for i := range b.Records {
			r := &b.Records[i]
			n := s.Names(r.Generation)
			if want := fmt.Sprintf("policy of generation %d", r.Generation); n.Policy(1) != want || n.Generation != r.Generation {
				return i, fmt.Errorf("policy %q, want %q", n.Policy(1), want)
			}
			if n.Zone(1) != "trust" || n.Interface(12) != "wan0" || n.Application(1) != "junos-https" {
				return i, fmt.Errorf("names %+v", n)
			}
			if filter, term := n.Term(1, 0); filter != "edge-in" || term != "ntp-amplification" {
				return i, fmt.Errorf("filter %q, term %q", filter, term)
			}
		}
		return b.Len(), nil
	}).Run(ctx, s)
}

func serveTestPlugin(args []string) {
	switch {
	case len(args) == 0:
		sinkplugin.Serve(testPlugin())
	case args[0] == "names":
		sinkplugin.Serve(namesPlugin())
	case args[0] == "count":
		sinkplugin.Serve(countPlugin())
	case args[0] == "lists":
		sinkplugin.Serve(listsPlugin())
	case args[0] == "daemon":
		serveDaemon(args[1], args[2], args[3])
	case args[0] == "bare":
		serveBare()
	default:
		rawPlugin(args[0], args[1:])
	}
}

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// runtimeDir returns a directory with a path short enough for sockets, which nothing is left in when the test ends.
func runtimeDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/run", "pt")
	if err != nil {
		dir, err = os.MkdirTemp("", "pt")
	}
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // for plugins of other users
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			tb.Errorf("left behind: %v, %v", left, err)
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

// newHost returns a host with short waits, whose log is returned.
func newHost(tb testing.TB) (*Host, *logbuffer.Buffer) {
	tb.Helper()
	log := new(logbuffer.Buffer)
	h := New(Options{RuntimeDir: runtimeDir(tb), Log: textLog(log)})
	h.timing.cooldown = 300 * time.Millisecond
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h, log
}

// newTestSink returns the sink of a table of plugin = "exec" whose command is the test binary; args and more keys are added.
func newTestSink(tb testing.TB, h *Host, more string, args ...string) *Sink {
	tb.Helper()
	sink, err := tryTestSink(tb, h, more, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return sink
}

func tryTestSink(tb testing.TB, h *Host, more string, args ...string) (*Sink, error) {
	tb.Helper()
	var command []string
	for _, a := range append([]string{executablePath(tb), pluginArg}, args...) {
		command = append(command, quote(a))
	}
	text := fmt.Sprintf("[sinks.mine]\nplugin = \"exec\"\ncommand = [%s]\nenv = [\"GORACE=atexit_sleep_ms=0\"]\n%s", strings.Join(command, ", "), more)
	section, problems := config.ParseTable("test.toml", []byte(text), "sinks", "mine")
	sink := h.Exec().Configure(section, sdk.Env{Hostname: "fw1", Window: 1000})
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return sink.(*Sink), nil
}

func executablePath(tb testing.TB) string {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	return exe
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

// outLine is a line of the file that the test's sink writes; each is as long as every other.
const outLine = "%d %020d\n"

// delivered returns how often each sequence number stands in a file. A torn line is none.
func delivered(tb testing.TB, path string) map[event.Seq]int {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	times := make(map[event.Seq]int)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var epoch uint64
		var seq event.Seq
		if n, _ := fmt.Sscanf(lines.Text(), "%d %d", &epoch, &seq); n == 2 && fmt.Sprintf(outLine, epoch, seq) == lines.Text()+"\n" {
			times[seq]++
		}
	}
	return times
}
