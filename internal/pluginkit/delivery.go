package pluginkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// feed runs a sink over n records to the drain.
func feed(ctx context.Context, sink sdk.Sink, n int, batch int) error {
	s := sinktest.NewStream(nil)
	s.SetBatch(batch)
	s.Append(sinktest.Records(7, min(n, 10_000))...)
	s.Repeat(n)
	s.Drain()
	return finish(ctx, s, sink, event.Seq(n))
}

// finish runs a sink to the drain and looks at what it has acknowledged.
func finish(ctx context.Context, s *sinktest.Stream, sink sdk.Sink, want event.Seq) error {
	if err := s.Run(ctx, sink); err != nil {
		return fmt.Errorf("%d of %d records are acknowledged: %w", s.Acked(), want, err)
	}
	if got := s.Acked(); got != want {
		return fmt.Errorf("of %d records %d are acknowledged", want, got)
	}
	return breaches(s)
}

func breaches(s *sinktest.Stream) error {
	var errs []error
	for _, b := range s.Breaches() {
		errs = append(errs, errors.New(b))
	}
	return errors.Join(errs...)
}

func acknowledgesInOrder(ctx context.Context, sink *pluginhost.Sink) error {
	w := &ackedStream{Stream: sinktest.NewStream(nil)}
	w.SetBatch(37)
	w.Append(sinktest.Records(8, 5000)...)
	w.Drain()
	if err := w.Run(ctx, ackChecker{sink, w}); err != nil {
		return err
	}
	if w.last != 5000 {
		return fmt.Errorf("the last acknowledgement is of record %d, not 5000", w.last)
	}
	return breaches(w.Stream)
}

// ackedStream is a stream that remembers the last acknowledgement, over all runs.
type ackedStream struct {
	*sinktest.Stream

	last event.Seq
}

// ackChecker is a sink whose acknowledgements are checked: each has to be higher than the one before.
type ackChecker struct {
	sink sdk.Sink
	w    *ackedStream
}

func (s ackChecker) Run(ctx context.Context, stream sdk.Stream) error {
	return s.sink.Run(ctx, &checkedStream{stream, s.w})
}

// checkedStream is the stream of one run of an ackChecker.
type checkedStream struct {
	sdk.Stream

	w *ackedStream
}

func (s *checkedStream) Ack(through event.Seq) error {
	if through <= s.w.last {
		return fmt.Errorf("acknowledged up to %d after %d", through, s.w.last)
	}
	s.w.last = through
	return s.Stream.Ack(through)
}

func takesSlowly(ctx context.Context, sink *pluginhost.Sink) error {
	s := sinktest.NewStream(nil)
	r := s.Start(ctx, sink)
	defer func() { _ = r.Stop() }() // the acknowledgements are what counts
	for i, rec := range sinktest.Records(9, 100) {
		s.Append(rec)
		if err := r.WaitAcked(event.Seq(i + 1)); err != nil {
			return fmt.Errorf("record %d, the only one under way, is not acknowledged: %w", i+1, err)
		}
	}
	return breaches(s)
}

// prompt is how long a plugin may take to end a run.
const prompt = 400 * time.Millisecond

func stopsInTheMiddle(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
	s := sinktest.NewStream(nil)
	s.Append(sinktest.Records(10, 1000)...)
	s.Repeat(1 << 40)
	r := s.Start(ctx, sink)
	if err := r.WaitAcked(5000); err != nil {
		_ = r.Stop() // the first error says it
		return err
	}
	before := pid(sink)
	told := time.Now()
	_ = r.Stop() // its context has ended
	if within := prompt + b.o.Slack; time.Since(told) > within {
		return fmt.Errorf("when the daemon closed its half of the stream the run did not end within %v", within)
	}
	acked := s.Acked()
	s.Repeat(int(acked) + 100_000)
	s.Drain()
	if err := s.Run(ctx, sink); err != nil {
		return fmt.Errorf("the run after it: %w", err)
	}
	switch {
	case s.Acked() != acked+100_000:
		return fmt.Errorf("of %d records %d are acknowledged", acked+100_000, s.Acked())
	case pid(sink) != before:
		return errors.New("the process did not survive the end of a run")
	}
	return breaches(s)
}

func pid(sink *pluginhost.Sink) int { return sink.Status().(pluginhost.Status).PID }

func takesAgain(ctx context.Context, sink *pluginhost.Sink) error {
	s := sinktest.NewStream(nil)
	s.Append(sinktest.Records(11, 10_000)...)
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, sink); cancel() }()
	if err := s.WaitAcked(running, 1); err != nil {
		return errors.Join(<-ended, err)
	}
	if err := kill(pid(sink)); errors.Is(err, syscall.ESRCH) {
		return errors.Join(errors.New("the process has ended before it was killed"), <-ended)
	} else if err != nil {
		return err
	}
	if err := <-ended; err == nil {
		return errors.New("the run has survived its process")
	}
	// A destination that has the records already gets them all once more.
	again := sinktest.NewStream(nil)
	again.Append(sinktest.Records(11, 10_000)...)
	again.Drain()
	return finish(ctx, again, sink, 10_000)
}

// kill kills a process. The number 0 stands for none; for kill(2) it is the process group of the caller.
func kill(pid int) error {
	if pid == 0 {
		return syscall.ESRCH
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// nonsense sends a batch that cannot be read and returns what the plugin does.
func nonsense(ctx context.Context, sink *pluginhost.Sink) (acked uint64, err error) {
	client, err := sink.Client(ctx)
	if err != nil {
		return 0, err
	}
	call, err := client.Deliver(ctx)
	if err != nil {
		return 0, err
	}
	for _, m := range []*sinkv1.Down{
		{Message: &sinkv1.Down_Open{Open: &sinkv1.Open{Epoch: 1}}},
		{Message: &sinkv1.Down_Names{Names: &sinkv1.Names{}}},
		{Message: &sinkv1.Down_Batch{Batch: &sinkv1.Batch{First: 1, Count: 3, Frames: []byte(strings.Repeat("nonsense", 100))}}},
	} {
		if err := call.Send(m); err != nil {
			break // what it says about it is received
		}
	}
	_ = call.CloseSend() // the call may have ended
	for {
		up, err := call.Recv()
		if err != nil {
			return acked, nil //nolint:nilerr // the plugin may end the call with any error
		}
		acked = max(acked, up.GetAck())
	}
}

func refusesNonsense(ctx context.Context, sink *pluginhost.Sink) error {
	acked, err := nonsense(ctx, sink)
	if err == nil && acked > 0 {
		err = fmt.Errorf("it acknowledges record %d of a batch whose frames are no frames", acked)
	}
	return err
}

func survivesNonsense(ctx context.Context, sink *pluginhost.Sink) error {
	if _, err := nonsense(ctx, sink); err != nil {
		return err
	}
	before := pid(sink)
	if err := feed(ctx, sink, 1000, 100); err != nil {
		return err
	}
	if pid(sink) != before {
		return errors.New("the process has ended")
	}
	return nil
}

func passesOverUnknown(ctx context.Context, sink *pluginhost.Sink) error {
	client, err := sink.Client(ctx)
	if err != nil {
		return err
	}
	call, err := client.Deliver(ctx)
	if err != nil {
		return err
	}
	r := sinktest.Record(event.SessionOpen, 1)
	r.SetSeq(1)
	for _, m := range []*sinkv1.Down{
		{Message: &sinkv1.Down_Open{Open: &sinkv1.Open{Epoch: 1}}},
		{},
		{Message: &sinkv1.Down_Names{Names: sinkv1.FromNames(sinktest.Names())}},
		{Message: &sinkv1.Down_Batch{Batch: &sinkv1.Batch{First: 1, Count: 1, Frames: r.Frame()}}},
		{Message: &sinkv1.Down_Drain{Drain: &sinkv1.Drain{}}},
	} {
		if err := call.Send(m); err != nil {
			break
		}
	}
	var acked uint64
	for {
		up, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		acked = max(acked, up.GetAck())
	}
	if acked != 1 {
		return errors.New("a record after a message that is empty, as one of a later version looks, is not acknowledged")
	}
	return nil
}

func takesMany(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
	return feed(ctx, sink, b.o.Records, 1024)
}

// slowAnswer is how long an answer about health may take under load.
const slowAnswer = 2 * time.Second

func answersUnderLoad(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
	within := slowAnswer + b.o.Slack
	client, err := sink.Client(ctx)
	if err != nil {
		return err
	}
	s := sinktest.NewStream(nil)
	s.Append(sinktest.Records(12, 1000)...)
	s.Repeat(1 << 40)
	r := s.Start(ctx, sink)
	defer func() { _ = r.Stop() }() // the answers are what counts
	for i := range 20 {
		if err := r.WaitAcked(event.Seq(i+1) * 2000); err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, within)
		answer, err := client.Health(short, &sinkv1.HealthRequest{})
		cancel()
		if err != nil {
			return fmt.Errorf("within %v: %w", within, err)
		}
		if text := answer.GetStatus(); text != "" && !json.Valid([]byte(text)) {
			return fmt.Errorf("its status is no JSON: %.100q", text)
		}
	}
	return nil
}

// maxWindow is how many records a plugin should let the daemon send ahead: 20 MB of frames.
const maxWindow = 1 << 17

func boundsWindow(ctx context.Context, sink *pluginhost.Sink) error {
	if err := feed(ctx, sink, 100_000, 1024); err != nil {
		return err
	}
	if w := sink.Status().(pluginhost.Status).Window; w > maxWindow {
		return fmt.Errorf("it lets %d records be sent ahead: a slow destination would fill its memory", w)
	}
	return nil
}

func endsWhenTold(ctx context.Context, sink *pluginhost.Sink) error {
	if err := feed(ctx, sink, 10, 10); err != nil {
		return err
	}
	if err := sink.Close(); err != nil {
		return err
	}
	if st := sink.Status().(pluginhost.Status); strings.Contains(st.LastExit, "told to end") {
		return errors.New("it does not end when its standard input ends, and has to be killed")
	}
	return nil
}
