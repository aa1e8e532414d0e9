// Package plugintest runs sinks that are executables as the daemon does, and kills them.
//
// It does not know the destination of any sink. Only tests import it.
package plugintest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/internal/pluginkit"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// Build builds the command pipelined-sink-NAME into a plugin directory and returns that.
func Build(tb testing.TB, name string) string {
	tb.Helper()
	dir := tb.TempDir()
	command := pluginhost.Prefix + name
	build := exec.Command("go", "build", "-o", filepath.Join(dir, command), "github.com/rtflow/pipelined/cmd/"+command)
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// New returns the sink of [sinks.broker] with plugin = "NAME" from the plugin directory and that table. Its process ends with
// the test.
func New(tb testing.TB, dir, name, table string) *pluginhost.Sink {
	tb.Helper()
	host := pluginhost.New(pluginhost.Options{Log: slog.New(slog.NewTextHandler(testLog{tb}, nil)), RuntimeDir: runtimeDir(tb)})
	found, err := host.Discover(dir, nil)
	if err != nil {
		tb.Fatal(err)
	}
	i := slices.IndexFunc(found, func(p sdk.SinkPlugin) bool { return p.Name == name })
	if i < 0 {
		tb.Fatalf("no plugin %s in %s", name, dir)
	}
	sink, problems := sinkcheck.Load(found[i], table, sdk.Env{Hostname: "fw1", Window: 1000})
	if problems != "" {
		tb.Fatal(problems)
	}
	tb.Cleanup(func() {
		if err := errors.Join(sink.(io.Closer).Close(), host.Close()); err != nil {
			tb.Error(err)
		}
	})
	return sink.(*pluginhost.Sink)
}

// runtimeDir returns a directory for sockets, whose paths have to be short.
func runtimeDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "pt")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Conform tries the executable as `pipelined plugin test` does, with that table, and accepts no flaw.
func Conform(tb testing.TB, dir, name, table string) {
	tb.Helper()
	var report strings.Builder
	err := pluginkit.Test(tb.Context(), &report, pluginkit.Options{
		Command: []string{filepath.Join(dir, pluginhost.Prefix+name)}, Config: []byte(table), ConfigName: "test.toml",
		RuntimeDir: runtimeDir(tb), Records: 20_000, Patience: time.Minute, Slack: 20 * time.Second,
	})
	if err != nil || !strings.Contains(report.String(), "0 failed, 0 flaws") {
		tb.Errorf("%v\n%s", err, report.String())
	}
}

// testLog is a log that a test shows.
type testLog struct{ testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	l.Log(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

// KillUnderLoad runs the sink on a stream of copies of those records, kills its process as often as asked with records on their
// way, and returns how many records there were when all are acknowledged.
func KillUnderLoad(tb testing.TB, sink *pluginhost.Sink, records []event.Record, kills int) int {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	s := sinktest.NewStream(tb)
	n := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.Drain()
		for kill := 0; ; kill++ {
			s.Append(records...)
			n += len(records)
			// In the middle of the last portion, so that records are on their way.
			if s.WaitAcked(ctx, event.Seq(n-len(records)/2)) != nil || kill == kills {
				return
			}
			if pid := sink.Status().(pluginhost.Status).PID; pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
				tb.Errorf("there is no process %d to kill", pid)
			}
		}
	}()
	failures := sinkcheck.KeepRunning(ctx, tb, s, sink)
	<-done
	if failures < kills {
		tb.Errorf("%d runs have failed of %d kills", failures, kills)
	}
	if got := s.Acked(); got != event.Seq(n) {
		tb.Errorf("acknowledged up to %d of %d", got, n)
	}
	return n
}
