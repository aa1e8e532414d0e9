package deliver

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// maxBatch is how many records a sink is lent at most at once: about 170 KiB of ring.
const maxBatch = 1024

// stream is what a sink sees of its queue.
type stream struct {
	queue    Queue
	sessions func() iter.Seq[*event.Record]
	epoch    uint64
	owner    *Delivery
	over     atomic.Bool   // Run has returned: what its goroutines still do must not change the next run
	told     atomic.Bool   // the sink knows that there is nothing more
	leaves   atomic.Bool   // the sink has a successor: it gets nothing more
	ending   chan struct{} // closed when the run is to end
}

var (
	_ sdk.Stream        = (*stream)(nil)
	_ sdk.SessionLister = (*stream)(nil)
	_ sdk.DrainNotifier = (*stream)(nil)
	_ sdk.Positioned    = (*stream)(nil)
)

// errOver is the error of the methods of a stream whose run has ended.
const errOver = sdk.Error("sdk: the stream ended when Run returned")

func (s *stream) Next(ctx context.Context, wait time.Duration) (sdk.Batch, error) {
	var timeout <-chan time.Time
	ending := s.ending
	for {
		if err := ctx.Err(); err != nil {
			return sdk.Batch{}, err
		}
		if s.over.Load() {
			return sdk.Batch{}, errOver // the records are the next run's
		}
		if s.leaves.Load() {
			s.told.Store(true)
			return sdk.Batch{}, sdk.ErrDrained
		}
		if records := s.queue.Next(maxBatch); records != nil {
			s.owner.handedOut(len(records))
			return sdk.Batch{Records: records}, nil
		}
		if s.queue.Drained() {
			s.told.Store(true)
			return sdk.Batch{}, sdk.ErrDrained
		}
		if wait == 0 {
			return sdk.Batch{}, nil
		}
		wake, ok := s.queue.Sleep()
		if !ok {
			continue
		}
		if wait > 0 && timeout == nil {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-wake:
		case <-ending:
			ending = nil
		case <-timeout:
			return sdk.Batch{}, nil
		case <-ctx.Done():
		}
	}
}

func (s *stream) Ack(through event.Seq) error {
	if s.over.Load() {
		return errOver
	}
	if err := s.queue.Ack(through); err != nil {
		return err
	}
	s.owner.delivered()
	return nil
}

func (s *stream) Reject(seq event.Seq, why string) {
	if !s.over.Load() && s.queue.Reject(seq) {
		s.owner.rejected(seq, why)
	}
}

func (s *stream) Names(generation uint32) *event.Names { return s.queue.Names(generation) }

func (s *stream) Sessions() iter.Seq[*event.Record] {
	if s.sessions == nil {
		return func(func(*event.Record) bool) {}
	}
	return s.sessions()
}

func (s *stream) Draining() <-chan struct{} { return s.ending }

func (s *stream) Acknowledged() event.Seq { return s.queue.Acknowledged() }

func (s *stream) Epoch() uint64 { return s.epoch }
