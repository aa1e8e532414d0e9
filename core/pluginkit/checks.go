package pluginkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rtflow/pipelined/core/pluginhost"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// checks are tried in this order. docs/plugins.md has a row for each.
func checks() []check {
	list := []check{
		{Must, "starts, shakes hands and takes its configuration", starts},
		{Must, "refuses a version of the protocol that it does not know", refusesVersion},
		{Should, "ends at once when somebody else starts it", endsAlone},
		{Should, "reports a key of its configuration that it does not know", reportsUnknownKey},
	}
	for _, c := range sinktest.Checks() {
		list = append(list, check{Must, c.Name, func(ctx context.Context, b *bench) error {
			sink, err := b.sink()
			if err != nil {
				return err
			}
			return c.Run(ctx, sink)
		}})
	}
	return append(list,
		check{Must, "acknowledges in order and only what it has got", acknowledgesInOrder},
		check{Must, "takes records one by one, slowly", takesSlowly},
		check{Must, "stops in the middle of a stream", stopsInTheMiddle},
		check{Must, "takes records again after it was killed", takesAgain},
		check{Must, "does not acknowledge what cannot be read", refusesNonsense},
		check{Should, "survives what cannot be read", survivesNonsense},
		check{Must, "passes over messages that it does not know", passesOverUnknown},
		check{Must, "takes a great many records", takesMany},
		check{Must, "answers for its health under load", answersUnderLoad},
		check{Should, "bounds what may be sent ahead", boundsWindow},
		check{Should, "ends by itself when it is told to", endsWhenTold},
	)
}

func starts(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err == nil {
		_, err = sink.Client(ctx)
	}
	return err
}

func refusesVersion(ctx context.Context, b *bench) error {
	sink, err := b.open(pluginhost.Options{Version: sinkv1.Version + 1000}, string(b.o.Config))
	if err != nil {
		return err
	}
	if _, err := sink.Client(ctx); err == nil {
		return errors.New("it claims to speak any version: PLUGIN_PROTOCOL_VERSIONS says which the daemon speaks, the handshake which one is used")
	}
	return nil
}

// alone is how long a plugin may take to see that it was not started by the daemon.
const alone = 5 * time.Second

func endsAlone(ctx context.Context, b *bench) error {
	ctx, cancel := context.WithTimeout(ctx, alone)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.o.Command[0], b.o.Command[1:]...)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("started without PIPELINED_PLUGIN it still runs after %v", alone)
	case err == nil:
		return errors.New("started without PIPELINED_PLUGIN it ends with the status 0")
	}
	return nil
}

func reportsUnknownKey(ctx context.Context, b *bench) error {
	const key = "pipelined-no-such-key"
	text := string(b.o.Config)
	if len(b.table) > 0 {
		text += fmt.Sprintf("\n[%s.%q.%q]\n", b.table[0], b.table[1], key)
	} else {
		text += fmt.Sprintf("\n[%q]\n", key)
	}
	sink, err := b.open(pluginhost.Options{}, text)
	if err != nil {
		return err
	}
	switch _, err := sink.Client(ctx); {
	case err == nil:
		return fmt.Errorf("it takes the key %q: a spelling mistake would go unnoticed", key)
	case !strings.Contains(err.Error(), key):
		return fmt.Errorf("it does not name the key %q: %w", key, err)
	}
	return nil
}

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
		return err
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

func acknowledgesInOrder(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
	w := &watched{Stream: sinktest.NewStream(nil)}
	w.SetBatch(37)
	w.Append(sinktest.Records(8, 5000)...)
	w.Drain()
	if err := w.Run(ctx, spy{sink, w}); err != nil {
		return err
	}
	if w.last != 5000 {
		return fmt.Errorf("the last acknowledgement is of record %d, not 5000", w.last)
	}
	return breaches(w.Stream)
}

// watched is a stream that keeps account of acknowledgements.
type watched struct {
	*sinktest.Stream

	last event.Seq
}

// spy hands a sink a stream that watches it.
type spy struct {
	sink sdk.Sink
	w    *watched
}

func (s spy) Run(ctx context.Context, stream sdk.Stream) error {
	return s.sink.Run(ctx, &spied{stream, s.w})
}

type spied struct {
	sdk.Stream

	w *watched
}

func (s *spied) Ack(through event.Seq) error {
	if through <= s.w.last {
		return fmt.Errorf("acknowledged up to %d after %d", through, s.w.last)
	}
	s.w.last = through
	return s.Stream.Ack(through)
}

func takesSlowly(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
	s := sinktest.NewStream(nil)
	stop := run(ctx, s, sink)
	defer stop()
	for i, r := range sinktest.Records(9, 100) {
		s.Append(r)
		if err := s.WaitAcked(ctx, event.Seq(i+1)); err != nil {
			return fmt.Errorf("record %d, the only one under way, is not acknowledged: %w", i+1, err)
		}
	}
	return breaches(s)
}

// run runs a sink until stop is called, which returns what it returned.
func run(ctx context.Context, s *sinktest.Stream, sink sdk.Sink) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	var err error
	ended := false
	return func() error {
		cancel()
		if !ended {
			err, ended = <-done, true
		}
		return err
	}
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
	stop := run(ctx, s, sink)
	if err := s.WaitAcked(ctx, 5000); err != nil {
		return errors.Join(err, stop())
	}
	before := pid(sink)
	begin := time.Now()
	_ = stop() // its context has ended
	if took := time.Since(begin); took > prompt {
		return fmt.Errorf("when the daemon closed its half of the stream the run did not end within %v", prompt)
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

func takesAgain(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
	s := sinktest.NewStream(nil)
	s.Append(sinktest.Records(11, 10_000)...)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, sink) }()
	if err := s.WaitAcked(ctx, 1); err != nil {
		return errors.Join(err, <-ended)
	}
	if err := syscall.Kill(pid(sink), syscall.SIGKILL); err != nil {
		return err
	}
	<-ended // how a killed process ends is no news
	// A destination that has the records already gets them all once more.
	again := sinktest.NewStream(nil)
	again.Append(sinktest.Records(11, 10_000)...)
	again.Drain()
	return finish(ctx, again, sink, 10_000)
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
			return acked, nil //nolint:nilerr // how it ends the call is its affair
		}
		acked = max(acked, up.GetAck())
	}
}

func refusesNonsense(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
	acked, err := nonsense(ctx, sink)
	if err == nil && acked > 0 {
		err = fmt.Errorf("it acknowledges record %d of a batch whose frames are no frames", acked)
	}
	return err
}

func survivesNonsense(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
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

func passesOverUnknown(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
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
	client, err := sink.Client(ctx)
	if err != nil {
		return err
	}
	s := sinktest.NewStream(nil)
	s.Append(sinktest.Records(12, 1000)...)
	s.Repeat(1 << 40)
	stop := run(ctx, s, sink)
	defer func() { _ = stop() }() // the answers are what counts
	for i := range 20 {
		if err := s.WaitAcked(ctx, event.Seq(i+1)*2000); err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, slowAnswer)
		answer, err := client.Health(short, &sinkv1.HealthRequest{})
		cancel()
		if err != nil {
			return fmt.Errorf("within %v: %w", slowAnswer, err)
		}
		if text := answer.GetStatus(); text != "" && !json.Valid([]byte(text)) {
			return fmt.Errorf("its status is no JSON: %.100q", text)
		}
	}
	return nil
}

// maxWindow is how many records a plugin should let the daemon send ahead: 20 MB of frames.
const maxWindow = 1 << 17

func boundsWindow(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
	if err := feed(ctx, sink, 100_000, 1024); err != nil {
		return err
	}
	if w := sink.Status().(pluginhost.Status).Window; w > maxWindow {
		return fmt.Errorf("it lets %d records be sent ahead: a slow destination would fill its memory", w)
	}
	return nil
}

func endsWhenTold(ctx context.Context, b *bench) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
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
