package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// breachError is a breach of the protocol. The process that commits it is not trusted any longer.
type breachError struct{ what string }

func (e *breachError) Error() string { return "breach of the protocol: " + e.what }

func breach(form string, args ...any) error { return &breachError{fmt.Sprintf(form, args...)} }

// Bounds of what a plugin may send to the daemon.
const (
	maxIdle = 1000 // messages in a row that neither acknowledge nor reject anything, go on with a list, nor raise the credit for what was sent
	maxWhy  = 200  // bytes of the reason of a rejection
)

// maxBatch is how many records one message to the plugin holds at most.
const maxBatch = 1024

// delivery is one run over one stream.
type delivery struct {
	call     grpc.BidiStreamingClient[sinkv1.Down, sinkv1.Up]
	stream   sdk.Stream
	progress func() // called when something was acknowledged
	stats    *stats

	sent    atomic.Uint64 // last sequence number that was sent
	records atomic.Uint64 // how many were sent
	credit  atomic.Uint64 // how many may be sent
	granted chan struct{} // a token when credit has grown

	acked    uint64 // used by the receiver only
	rejected uint64
	raised   uint64 // how often the credit was
	idle     int
	list     listing
	lists    *rate.Limiter // of the beginnings of lists, over all runs of the process

	sending sync.Mutex // held while something is sent, with what belongs to it

	down  sinkv1.Down // reused for batches
	batch sinkv1.Batch
	names map[uint32]bool // generations whose names were sent
}

// put sends a message. Safe for concurrent use.
func (d *delivery) put(m *sinkv1.Down) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	return d.call.Send(m)
}

// deliver runs the sink once over a stream of its own. When ctx ends it asks the plugin to stop and waits a moment for its last
// acknowledgements.
func (s *Sink) deliver(ctx context.Context, p *live, stream sdk.Stream) error {
	callCtx, cancelCall := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelCall()
	ended := make(chan struct{})
	defer close(ended)
	defer context.AfterFunc(ctx, func() { // a plugin that does not stop is not waited for, nor one that lets no stream open
		timer := time.NewTimer(p.timing.stop)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ended:
		}
		cancelCall()
	})()
	call, err := p.sink.Deliver(callCtx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	d := &delivery{
		call: call, stream: stream, progress: func() { p.verdict(nil) }, stats: &s.stats,
		granted: make(chan struct{}, 1), names: make(map[uint32]bool), lists: p.lists,
	}
	d.down.Message = &sinkv1.Down_Batch{Batch: &d.batch}

	sendCtx, stopSending := context.WithCancel(ctx)
	defer stopSending()
	received := make(chan error, 1)
	go func() {
		defer stopSending()
		err := d.receive()
		if err != nil {
			cancelCall() // the sender may wait for a plugin that reads no more
		}
		received <- err
	}()
	sendErr := d.send(sendCtx)
	if errors.Is(sendErr, sdk.ErrDrained) {
		sendErr = nil
		select {
		case err := <-received: // the plugin has acknowledged what it could and ended the call
			return err
		case <-ctx.Done():
		}
	}
	_ = call.CloseSend() // asks the plugin to stop; a broken stream shows in what is received
	err = <-received
	var broken *breachError
	switch {
	case errors.As(err, &broken):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case sendErr != nil && !errors.Is(sendErr, context.Canceled) && !errors.Is(sendErr, io.EOF):
		return sendErr
	}
	return nil
}

// send sends what the ring has until it is drained or ctx ends.
func (d *delivery) send(ctx context.Context) error {
	open := &sinkv1.Down{Message: &sinkv1.Down_Open{Open: &sinkv1.Open{Epoch: d.stream.Epoch()}}}
	if err := d.put(open); err != nil {
		return err
	}
	if n, ok := d.stream.(sdk.DrainNotifier); ok {
		told := make(chan struct{})
		ctx, cancel := context.WithCancel(ctx)
		go func() {
			defer close(told)
			select {
			case <-n.Draining():
				_ = d.put(&sinkv1.Down{Message: &sinkv1.Down_Stopping{Stopping: &sinkv1.Stopping{}}}) // a broken stream shows in what is received
			case <-ctx.Done():
			}
		}()
		defer func() { cancel(); <-told }()
	}
	for {
		b, err := d.stream.Next(ctx, -1)
		if errors.Is(err, sdk.ErrDrained) {
			drain := &sinkv1.Down{Message: &sinkv1.Down_Drain{Drain: &sinkv1.Drain{}}}
			return errors.Join(err, d.put(drain))
		}
		if err != nil {
			return err
		}
		if err := d.sendAll(ctx, b.Records); err != nil {
			return err
		}
	}
}

// sendAll sends the records as the credits allow.
func (d *delivery) sendAll(ctx context.Context, records []event.Record) error {
	for len(records) > 0 {
		room, err := d.room(ctx)
		if err != nil {
			return err
		}
		n := alike(records[:min(room, len(records), maxBatch)])
		if err := d.sendBatch(records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// room waits for credit and returns how much there is.
func (d *delivery) room(ctx context.Context) (int, error) {
	for {
		if credit, used := d.credit.Load(), d.records.Load(); credit > used {
			return int(min(credit-used, maxBatch)), nil
		}
		select {
		case <-d.granted:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// alike returns how many records from the first on are of one generation and without a gap.
func alike(records []event.Record) int {
	first := &records[0]
	for i := range records {
		if r := &records[i]; r.Generation != first.Generation || r.Seq() != first.Seq()+event.Seq(i) {
			return i
		}
	}
	return len(records)
}

func (d *delivery) sendBatch(records []event.Record) error {
	first := &records[0]
	d.sending.Lock()
	defer d.sending.Unlock()
	if err := d.sendNames(first.Generation); err != nil {
		return err
	}
	b := &d.batch
	b.First, b.Count, b.Generation = uint64(first.Seq()), uint32(len(records)), first.Generation
	b.Frames = b.Frames[:0]
	for i := range records {
		b.Frames = append(b.Frames, records[i].Frame()...)
	}
	// Before it is on its way: its acknowledgement may be faster than this goroutine.
	d.sent.Store(b.First + uint64(b.Count) - 1)
	d.records.Add(uint64(b.Count))
	d.stats.batches.Add(1)
	d.stats.records.Add(uint64(b.Count))
	return d.call.Send(&d.down)
}

// sendNames sends the names of a generation if they were not sent yet. The lock is held.
func (d *delivery) sendNames(generation uint32) error {
	if d.names[generation] {
		return nil
	}
	names := sinkv1.FromNames(d.stream.Names(generation))
	names.Generation = generation
	if err := d.call.Send(&sinkv1.Down{Message: &sinkv1.Down_Names{Names: names}}); err != nil {
		return err
	}
	d.names[generation] = true
	return nil
}

// receive takes what the plugin sends until it ends the call.
func (d *delivery) receive() error {
	defer func() { d.list.stop() }()
	up := new(sinkv1.Up)
	for {
		if err := d.call.RecvMsg(up); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := d.take(up); err != nil {
			return err
		}
	}
}

// take takes one message. A message is accepted only as far as what was sent allows.
func (d *delivery) take(up *sinkv1.Up) error {
	sent, idle := d.sent.Load(), true
	for _, r := range up.GetRejections() {
		switch d.rejected++; {
		case r.GetSequence() <= d.acked || r.GetSequence() > sent:
			return breach("record %d was rejected, but %d to %d are what it has", r.GetSequence(), d.acked+1, sent)
		case d.rejected > d.records.Load():
			return breach("more records were rejected than sent")
		}
		why := terminal.Line(r.GetWhy())
		if len(why) > maxWhy || why == "" {
			why = "no reason was given, or one too long"
		}
		d.stream.Reject(event.Seq(r.GetSequence()), why)
		idle = false
	}
	if up.GetAck() > sent {
		return breach("record %d was acknowledged, but %d was the last one sent", up.GetAck(), sent)
	}
	if up.GetAck() > d.acked {
		if err := d.stream.Ack(event.Seq(up.GetAck())); err != nil {
			return err
		}
		d.acked = up.GetAck()
		d.progress()
		idle = false
	}
	if up.GetCredit() > d.credit.Load() {
		d.credit.Store(up.GetCredit())
		if ahead := up.GetCredit() - d.records.Load(); ahead > d.stats.window.Load() {
			d.stats.window.Store(ahead)
		}
		select {
		case d.granted <- struct{}{}:
		default:
		}
		d.raised++
		idle = idle && d.raised > d.records.Load() // more often than record by record
	}
	if l := up.GetListing(); l != nil {
		goesOn, err := d.sessions(l.GetId())
		if err != nil {
			return err
		}
		idle = idle && !goesOn
	}
	if !idle {
		d.idle = 0
	} else if d.idle++; d.idle > maxIdle {
		return breach("%d messages in a row that say nothing", d.idle)
	}
	return nil
}
