package pluginhost

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/internal/process"
)

// TestExplainsWhenDrained explains the end of a process whose last line is read after the process has ended.
func TestExplainsWhenDrained(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "", "exits")
	proc, err := h.processes.Process(&sink.options.Spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proc.Close)
	if err := proc.Start(); err != nil {
		t.Fatal(err)
	}
	<-proc.Done()
	synctest.Test(t, func(t *testing.T) {
		p := &live{
			process: proc, output: process.NewOutput(func(string, uint64) {}), drained: make(chan struct{}), timing: timing{stop: time.Minute},
		}
		explained := make(chan error, 1)
		go func() { explained <- p.explain(errors.New("no handshake")) }()
		synctest.Wait()
		if _, err := io.WriteString(p.output.Writer(), "no license\n"); err != nil {
			t.Error(err)
		}
		close(p.drained)
		const want = "the plugin has ended, exit status 7: no handshake; it said last: no license"
		if err := <-explained; err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	})
}
