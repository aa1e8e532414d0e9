package sim

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

var (
	errNobody   = errors.New("sim: there is no receiver")
	errDraining = errors.New("sim: draining, and there is no receiver")
)

// The pauses of core/deliver are random. A connection begins at an instant after the longest that the pause can be.
const (
	afterProgress = 160 * time.Millisecond
	afterFailures = 7600 * time.Millisecond
)

// Connect makes a wire to the receiver.
func (o *output) Connect(ctx context.Context, draining <-chan struct{}) (net.Conn, error) {
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.closedAt = time.Now()
	}()
	if err := o.pace(ctx); err != nil {
		return nil, err
	}
	o.mu.Lock()
	panics := o.panics
	o.panics = false
	o.mu.Unlock()
	if panics {
		panic("sim: the sink panics")
	}
	for {
		o.mu.Lock()
		appearing := o.appearing
		o.mu.Unlock()
		if w := o.newWire(); o.program.connect(w) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.wire = w
			o.v.tell("connection %d", o.wires)
			return &w.sink, nil
		}
		if !o.plan.waits {
			return nil, errNobody
		}
		select {
		case <-appearing:
		case <-draining:
			return nil, errDraining
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pace waits until the pause of core/deliver is over, however long that was.
func (o *output) pace(ctx context.Context) error {
	var acked uint64
	for _, n := range o.ring.State().Released.Acknowledged {
		acked += n
	}
	o.mu.Lock()
	wait := afterFailures
	if acked > o.acked {
		wait = afterProgress
	}
	if o.closedAt.IsZero() {
		wait, o.closedAt = 0, time.Now()
	}
	at := nextInstant(o.closedAt.Add(wait), int64(dialerResidue+o.index))
	o.acked = acked
	o.mu.Unlock()
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *output) newWire() *wire {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wires++
	w := newWire(o.w.plan.seed<<20|uint64(o.index)<<16|o.wires, o.index, o.plan.data, o.plan.control, o.v)
	if o.healed {
		w.fair()
	}
	w.sink.onClose = func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.closedAt = time.Now()
		o.v.tell("the sink has closed the connection")
	}
	o.v.seal(false)
	switch o.plan.trouble {
	case mute:
		w.sink.in.freeze(true)
	case lying:
		w.sink.in.inject(func() []byte { return eventstream.AppendControl(nil, eventstream.Ack, o.ring.State().Next) })
	}
	return w
}

// Close is called when the delivery has ended.
func (o *output) Close() error { return nil }

// Refused is part of a connector.
func (o *output) Refused() uint64 { return 0 }

var _ unixsock.Connector = (*output)(nil)
