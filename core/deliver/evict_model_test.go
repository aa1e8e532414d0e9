package deliver

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// seen describes a record as a sink sees it.
func seen(rec *event.Record) string {
	text := fmt.Sprintf("%d %v %d", rec.Seq(), rec.Kind(), rec.Time())
	if rec.Kind() == event.Loss {
		text += fmt.Sprintf(" %v since %d", rec.LossCounts(), rec.LossSince())
	}
	return text
}

// both is a ring and the stream that stands for it in tests of sinks.
type both struct {
	*testing.T
	ring   *replay.Ring
	stream *sinktest.Stream
	puts   int64
}

// put puts in a record, for which the ring has room.
func (b *both) put(k event.Kind) {
	b.Helper()
	b.ring.AnnounceOwed(0)
	if b.ring.Acquire(replay.ClassOf(k), 1) != 1 {
		b.Fatal("no room")
	}
	b.write(k)
}

func (b *both) write(k event.Kind) {
	b.puts++
	var rec event.Record
	rec.Reset(k)
	rec.SetTime(b.puts)
	b.ring.Put(b.ring.Claim(1), replay.ClassOf(k), &rec)
	b.stream.Append(rec)
}

// evict puts in a record for which the ring has to evict; do is what the stream has to do for the same.
func (b *both) evict(k event.Kind, do func()) {
	b.Helper()
	before := b.ring.State().Released.Evicted
	if b.ring.AcquireEvicting(replay.ClassOf(k), 1) != 1 {
		b.Fatal("the ring has not evicted")
	}
	if b.ring.State().Released.Evicted == before {
		b.Fatal("the ring had room without an eviction")
	}
	b.ring.AnnounceOwed(0)
	do()
	b.write(k)
}

// run hands out up to n records, acknowledges up to ack, and compares what the two have handed out.
func (b *both) run(n int, ack event.Seq) {
	b.Helper()
	var ofRing, ofStream []string
	for len(ofRing) < n {
		run := b.ring.Next(1)
		if run == nil {
			break
		}
		ofRing = append(ofRing, seen(&run[0]))
	}
	if err := b.ring.Ack(ack); err != nil {
		b.Fatal(err)
	}
	b.ring.Rewind()
	b.stream.SetBatch(1)
	err := b.stream.Run(b.Context(), sinkFunc(func(ctx context.Context, s sdk.Stream) error {
		for len(ofStream) < n {
			batch, err := s.Next(ctx, 0)
			if err != nil {
				return err
			}
			if batch.Len() == 0 {
				break
			}
			ofStream = append(ofStream, seen(&batch.Records[0]))
		}
		return s.Ack(ack)
	}))
	if err != nil {
		b.Fatal(err)
	}
	if !slices.Equal(ofRing, ofStream) {
		b.Errorf("the ring hands out\n%q\nthe stream\n%q", ofRing, ofStream)
	}
}

// TestEvictionOfSinktest holds the stream that tests of sinks use against the ring: they hand out the same after the same
// evictions.
func TestEvictionOfSinktest(t *testing.T) {
	const (
		o    = event.SessionOpen
		d    = event.PolicyDeny
		all  = 100 // more than there are
		size = 16  // of the ring
	)
	denials := event.KindSet(0).With(d)
	fill := func(b *both) {
		for range size {
			b.put(o)
		}
	}
	for _, c := range []struct {
		name string
		do   func(b *both, s *sinktest.Stream)
	}{
		{"fresh", func(b *both, s *sinktest.Stream) {
			fill(b)
			b.evict(o, func() { s.Evict(2) }) // the loss record needs one slot more
			b.evict(o, func() { s.Evict(3) })
		}},
		{"of one class", func(b *both, s *sinktest.Stream) {
			for _, k := range []event.Kind{o, d, o, d, d, d} {
				b.put(k)
			}
			b.evict(d, func() { s.EvictKinds(2, denials) })
			b.evict(d, func() { s.EvictKinds(4, denials) })
		}},
		{"of one class behind what was had", func(b *both, s *sinktest.Stream) {
			for _, k := range []event.Kind{o, d, o, d, d, d} {
				b.put(k)
			}
			b.run(3, 1)
			b.evict(d, func() { s.EvictKinds(4, denials) })
			b.run(4, 2)
			b.put(d)
			b.evict(d, func() { s.EvictKinds(6, denials) })
		}},
		{"had", func(b *both, s *sinktest.Stream) {
			fill(b)
			b.run(all, 0)
			b.evict(o, func() { s.Evict(2) })
			b.evict(o, func() { s.Evict(3) })
			b.run(all, 0)
			b.evict(o, func() { s.Evict(5) })
		}},
		{"had, then fresh", func(b *both, s *sinktest.Stream) {
			fill(b)
			b.run(4, 0)
			b.evict(o, func() { s.Evict(2) })
			b.evict(o, func() { s.Evict(3) })
			b.evict(o, func() { s.Evict(4) })
			b.evict(o, func() { s.Evict(6) })
		}},
		{"had and acknowledged", func(b *both, s *sinktest.Stream) {
			fill(b)
			b.run(6, 3)
			for range 3 {
				b.put(o)
			}
			b.evict(o, func() { s.Evict(5) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ring, err := replay.New(replay.Limits{Slots: size, Telemetry: 8, PerKind: 4})
			if err != nil {
				t.Fatal(err)
			}
			b := &both{T: t, ring: ring, stream: sinktest.NewStream(t)}
			c.do(b, b.stream)
			b.run(all, 0)
		})
	}
}
