package process

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"golang.org/x/time/rate"

	"github.com/rtflow/pipelined/internal/terminal"
)

const (
	readRate  = 1 << 20  // bytes that are read per second
	readBurst = 64 << 10 // bytes that are read at once after a silence
	maxLine   = 1024     // bytes of a line that are kept
	keptLines = 20       // lines that Last returns
	lineRate  = 10       // lines that are shown per second
	lineBurst = 50       // lines that are shown at once after a silence
)

// Output is what a process prints: some of its lines are shown as they come, the last ones are kept. A process that floods is
// read no faster than a limit, so that it waits for the daemon and not the daemon for it. Safe for concurrent use.
type Output struct {
	show  func(line string, leftOut uint64)
	bytes *rate.Limiter
	lines *rate.Limiter

	ctx  context.Context // ends when nothing has to wait any longer
	free context.CancelFunc

	mu         sync.Mutex
	last       []string
	total      uint64
	leftOut    uint64 // lines that were not shown
	unreported uint64 // of them, since the last line that was
}

// NewOutput returns an output that calls show with lines, a few per second at most, and with how many were left out since the
// line before.
func NewOutput(show func(line string, leftOut uint64)) *Output {
	o := &Output{show: show, bytes: rate.NewLimiter(readRate, readBurst), lines: rate.NewLimiter(lineRate, lineBurst)}
	o.ctx, o.free = context.WithCancel(context.Background())
	return o
}

// Writer returns a writer for one of the streams that a process prints to: each has lines of its own. A write waits until so
// much may be read.
func (o *Output) Writer() io.Writer { return &lineWriter{output: o} }

// PaidWriter returns a writer for what [Output.Pay] has waited for.
func (o *Output) PaidWriter() io.Writer { return &lineWriter{output: o, paid: true} }

// Pay waits until so many bytes may be read.
func (o *Output) Pay(n int) {
	for ; n > 0; n -= readBurst / 2 {
		if o.bytes.WaitN(o.ctx, min(n, readBurst/2)) != nil {
			return // nothing waits any longer
		}
	}
}

// Free ends every wait, now and later: the process has ended, and what it has printed is read to the end.
func (o *Output) Free() { o.free() }

// lineWriter cuts a stream into lines.
type lineWriter struct {
	output  *Output
	paid    bool // what is written has been paid for
	partial []byte
	cut     bool // the rest of a long line is dropped
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	if !w.paid {
		w.output.Pay(n)
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
	text := terminal.Line(string(w.partial))
	if w.cut {
		text += "…"
	}
	w.partial, w.cut = w.partial[:0], false
	if text != "" {
		w.output.add(text)
	}
}

func (o *Output) add(line string) {
	o.mu.Lock()
	if len(o.last) == keptLines {
		o.last = append(o.last[:0], o.last[1:]...)
	}
	o.last = append(o.last, line)
	o.total++
	show, leftOut := o.lines.Allow(), o.unreported
	if show {
		o.unreported = 0
	} else {
		o.leftOut++
		o.unreported++
	}
	o.mu.Unlock()
	if show {
		o.show(line, leftOut)
	}
}

// Last returns the last lines, oldest first.
func (o *Output) Last() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.last)
}

// Counts returns how many lines were printed, and how many of them were not shown.
func (o *Output) Counts() (total, leftOut uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total, o.leftOut
}
