package sinktest

import (
	"cmp"
	"context"
	"fmt"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Running is a run of a sink that goes on beside the test, until Stop. Its methods are for one goroutine.
type Running struct {
	stream *Stream
	ctx    context.Context // of the run, and of nothing else
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // when it has ended
}

// Start begins [Stream.Run] in a goroutine. The caller stops it.
func (s *Stream) Start(ctx context.Context, sink sdk.Sink) *Running {
	r := &Running{stream: s, ended: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		r.err = s.Run(r.ctx, sink)
		close(r.ended)
	}()
	return r
}

// Stop ends the context of the run, waits for its end, and returns what it returned, also if it is called again.
func (r *Running) Stop() error {
	r.cancel()
	<-r.ended
	return r.err
}

// errEnded is the end of a run that has returned nil, and was not drained or stopped.
const errEnded = sdk.Error("without an error, and before the drain")

// WaitAcked waits until through is acknowledged. It returns an error if the run ends before, which says how it has ended, or the error of the
// context of [Stream.Start].
func (r *Running) WaitAcked(through event.Seq) error {
	waiting, cancel := context.WithCancel(r.ctx)
	defer cancel()
	go func() {
		select {
		case <-r.ended:
			cancel()
		case <-waiting.Done():
		}
	}()
	err := r.stream.WaitAcked(waiting, through)
	switch {
	case err == nil, r.stream.Acked() >= through: // by the run's last acknowledgement
		return nil
	case r.ctx.Err() != nil:
		return err
	}
	return fmt.Errorf("the run has ended: %w", cmp.Or(r.Stop(), error(errEnded)))
}
