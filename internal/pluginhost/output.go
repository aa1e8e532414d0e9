package pluginhost

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"github.com/rtflow/pipelined/internal/terminal"
)

const (
	maxLine   = 1024 // bytes of a line that are kept
	keptLines = 20   // lines that the status shows
	lineBurst = 50   // lines that are logged at once after a silence
)

// output is what a plugin prints: lines go to the log, the last ones are kept for the status. A plugin that floods is read no faster
// than the limit, so that it waits for us and not we for it, and only some of its lines are logged.
type output struct {
	log   *slog.Logger
	bytes *rate.Limiter
	lines *rate.Limiter

	ctx  context.Context // ends when nobody has to wait any longer
	free context.CancelFunc

	mu         sync.Mutex
	last       []string
	total      uint64
	suppressed uint64 // lines that were not logged
	unreported uint64 // of them, since the last line that was
}

func newOutput(log *slog.Logger, t timing) *output {
	o := &output{
		log: log, bytes: rate.NewLimiter(rate.Limit(t.logBytes), 64<<10), lines: rate.NewLimiter(rate.Limit(t.logLines), lineBurst),
	}
	o.ctx, o.free = context.WithCancel(context.Background())
	return o
}

// writer returns a writer for one of the plugin's outputs: each cuts its own lines.
func (o *output) writer() *lineWriter { return &lineWriter{output: o} }

// paidWriter returns a writer for what was waited for already.
func (o *output) paidWriter() *lineWriter { return &lineWriter{output: o, paid: true} }

// pay waits until so many bytes may be read.
func (o *output) pay(n int) {
	for ; n > 0; n -= 32 << 10 {
		_ = o.bytes.WaitN(o.ctx, min(n, 32<<10)) // it only fails when nobody waits any longer
	}
}

// lineWriter cuts a stream into lines.
type lineWriter struct {
	output  *output
	paid    bool // nothing is waited for
	partial []byte
	cut     bool // the rest of a long line is dropped
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	if !w.paid {
		w.output.pay(n)
	}
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		if room := maxLine - len(w.partial); len(line) > room {
			line, w.cut = line[:room], true
		}
		w.partial = append(w.partial, line...)
		if whole {
			w.flush()
		}
		p = rest
	}
	return n, nil
}

func (w *lineWriter) flush() {
	text := printable(string(w.partial))
	if w.cut {
		text += "…"
	}
	w.partial, w.cut = w.partial[:0], false
	if text != "" {
		w.output.add(text)
	}
}

// printable makes a text of the plugin's one line that is safe for a log and a terminal. Tabs become blanks.
func printable(text string) string {
	return terminal.Text(strings.TrimSpace(strings.ReplaceAll(text, "\t", " ")))
}

func (o *output) add(line string) {
	o.mu.Lock()
	if len(o.last) == keptLines {
		o.last = append(o.last[:0], o.last[1:]...)
	}
	o.last = append(o.last, line)
	o.total++
	show := o.lines.Allow()
	dropped := o.unreported
	if show {
		o.unreported = 0
	} else {
		o.suppressed++
		o.unreported++
	}
	o.mu.Unlock()
	if !show {
		return
	}
	if dropped > 0 {
		o.log.Warn("plugin prints more than is logged", "lines_left_out", dropped)
	}
	o.log.Info("plugin says", "line", line)
}

// lastLines returns the last lines, oldest first.
func (o *output) lastLines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.last)
}

func (o *output) counts() (total, suppressed uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total, o.suppressed
}
