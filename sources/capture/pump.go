package capture

import (
	"context"
	"sync"
	"time"

	"github.com/rtflow/pipelined/core/packet"
)

// pump reads a capture on a goroutine of its own, because a read from a pipe can be waited for neither with a timeout nor
// with a context. It is one batch ahead: while the worker has one, it fills the other.
type pump struct {
	in    *input
	timer *time.Timer   // of receive
	ready chan struct{} // holds one token while filling is full or err is set

	mu      sync.Mutex
	room    sync.Cond // filling is no longer full, or closed
	filling *side
	given   *side // what the worker has
	err     error // why there will be no more
	closed  bool
}

// side is one of a pump's two batches.
type side struct {
	batch packet.Batch
	stage stage
}

// startPump starts the goroutine. It ends when the capture does, or at the first read that returns after stop.
func startPump(in *input) *pump {
	p := &pump{
		in:      in,
		timer:   time.NewTimer(0),
		ready:   make(chan struct{}, 1),
		filling: &side{stage: newStage()},
		given:   &side{stage: newStage()},
	}
	p.room.L = &p.mu
	go p.run()
	return p
}

func (p *pump) run() {
	err := p.in.open()
	var rec record
	for err == nil {
		if err = p.in.next(&rec); err == nil && !p.put(&rec) {
			return
		}
	}
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	p.signal()
}

// put adds a record to the batch that is being filled, once there is room. It reports false after stop.
func (p *pump) put(rec *record) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.filling.stage.full(&p.filling.batch) && !p.closed {
		p.room.Wait()
	}
	if p.closed {
		return false
	}
	p.filling.stage.put(&p.filling.batch, rec, p.in.last)
	if p.filling.stage.full(&p.filling.batch) {
		p.signal()
	}
	return true
}

func (p *pump) signal() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// receive waits for a full batch, the end of the capture, the timeout or ctx, and hands over what there is: packets that
// were read are not lost when ctx ends.
func (p *pump) receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	var ended error
	select {
	case <-p.ready:
	default:
		p.timer.Reset(timeout)
		select {
		case <-p.ready:
		case <-p.timer.C:
		case <-ctx.Done():
			ended = ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// What is signalled so far is taken now: a token left behind would end the next wait too early.
	select {
	case <-p.ready:
	default:
	}
	p.filling, p.given = p.given, p.filling
	p.filling.batch.N = 0
	p.filling.stage.reset()
	p.room.Signal()
	b.N = p.given.batch.N
	copy(b.Frames[:b.N], p.given.batch.Frames[:b.N])
	if p.err != nil {
		p.signal() // for the call that follows: the end stays the end
		if b.N > 0 {
			return nil
		}
		return p.err
	}
	if b.N > 0 {
		return nil
	}
	return ended
}

func (p *pump) stop() {
	p.timer.Stop()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.room.Signal()
}
