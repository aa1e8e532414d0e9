package file

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
)

// target is what the loop writes to. All methods but interrupt are for the goroutine of Run.
type target interface {
	// open makes the target ready for a run.
	open(now time.Time) error
	// background does what need not hold up the loop, until stop is called, which waits for it.
	background() (stop func())
	// turn is called before a write of n bytes and whenever the sink was asked to reopen. It returns what has to be done
	// first, nil for nothing; the loop settles what it has written and then does it.
	turn(now time.Time, n int) (first func(time.Time) error)
	// write appends p and returns how much of it was taken.
	write(p []byte) (int, error)
	// tear is called when a record was written in part: the last n bytes of the target are its beginning, rest is missing.
	tear(n int, rest []byte) error
	// cut takes back the last n bytes.
	cut(n int64) error
	// sync returns when everything that was written is on the disk.
	sync() error
	// reopen asks for the target to be opened anew. Called from any goroutine.
	reopen()
	// interrupt ends a write that hangs. Called from any goroutine.
	interrupt()
	close() error
	status() Status
}

// stream is a target that cannot take anything back: standard output, or any io.Writer.
type stream struct {
	connect func() (io.Writer, error)
	w       io.Writer
	rest    []byte // of a record that was written in part, possibly in an earlier run
	bytes   counter
}

var _ target = (*stream)(nil)

// writerPause is how long a sink of [NewWriter] lets records collect after a write: more than a worker takes for some batches of a
// capture, less than somebody who looks at the output sees, and far less than the worker takes to fill a ring.
const writerPause = 5 * time.Millisecond

// NewWriter returns a sink that writes to w, one large write after the other, and acknowledges what w has taken. w is not
// closed. While records keep coming it writes every few milliseconds. If a write fails in the middle of a record, the next run completes that record before it repeats it.
func NewWriter(w io.Writer, enc format.Encoder) sdk.Sink {
	sink := newSink(enc, &stream{connect: func() (io.Writer, error) { return w, nil }}, syncNone, 0)
	sink.pause = writerPause
	return sink
}

func (s *stream) open(time.Time) (err error) {
	s.w, err = s.connect()
	if d, ok := s.w.(deadliner); ok {
		_ = d.SetWriteDeadline(time.Time{}) // set by the end of an earlier run; files that cannot wait have none
	}
	return err
}

func (s *stream) background() func() { return func() {} }

func (s *stream) turn(time.Time, int) func(time.Time) error { return nil }

func (s *stream) write(p []byte) (int, error) {
	for len(s.rest) > 0 {
		n, err := s.w.Write(s.rest)
		s.rest = s.rest[n:]
		if err != nil {
			return 0, err
		}
	}
	n, err := s.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	s.bytes.Add(int64(n))
	return n, err
}

func (s *stream) tear(_ int, rest []byte) error {
	s.rest = append([]byte(nil), rest...)
	return nil
}

func (s *stream) cut(int64) error { return nil } // what was written is acknowledged, there is never anything to take back
func (s *stream) sync() error     { return nil }
func (s *stream) reopen()         {}
func (s *stream) status() Status  { return Status{Bytes: s.bytes.Load()} }

// deadliner is a file that can wait: a pipe, a terminal, a connection.
type deadliner interface{ SetWriteDeadline(time.Time) error }

func (s *stream) interrupt() {
	if d, ok := s.w.(deadliner); ok {
		_ = d.SetWriteDeadline(time.Unix(1, 0))
	}
}

func (s *stream) close() error {
	if f, ok := s.w.(*ownFile); ok {
		return f.Close()
	}
	return nil
}

// ownFile is a file that the stream opened itself and therefore closes.
type ownFile struct{ *os.File }

// openStdout returns standard output. A pipe or terminal is opened a second time, so that a reader that has stopped reading
// cannot hold up the end of a run: a write to the shared descriptor could not be interrupted, and making that descriptor
// non-blocking would change it for the programs we share it with. Where that fails, and for a file, it is the descriptor itself.
func openStdout() (io.Writer, error) {
	info, err := os.Stdout.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) != 0 {
		if f, err := os.OpenFile("/proc/self/fd/1", os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			return &ownFile{f}, nil
		}
	}
	return os.Stdout, nil
}

// interruptAt makes the end of ctx interrupt t. stop waits for an interruption in progress.
func interruptAt(ctx context.Context, t target) (stop func()) {
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		t.interrupt()
	})
	return func() {
		if !cancel() {
			<-done
		}
	}
}
