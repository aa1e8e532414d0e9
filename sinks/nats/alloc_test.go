package nats

import (
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/rtflow/pipelined/internal/inflight"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/internal/topic"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestAllocations has budgets for what the sink itself does: nothing per record of a batch, two strings per message.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	enc, err := format.New(format.Options{Format: format.Frames})
	if err != nil {
		t.Fatal(err)
	}
	subjects, err := topic.Parse(defaults().Subject, nil, escape)
	if err != nil {
		t.Fatal(err)
	}
	names := sinktest.Names()
	records := sinktest.Records(1, 256)
	const runs = 1000
	r := &run{
		Sink: &Sink{table: defaults(), enc: enc, subjects: subjects, window: inflight.New(len(records) * (runs + 2))},
		conn: &connection{maxSize: 1 << 30}, names: names,
		open: make(map[string]*message), free: make(chan *message, 64), out: make(map[*natsgo.Msg]*message),
	}
	r.table.Batch = maxBatch * 1000
	for range cap(r.free) {
		r.free <- newMessage()
	}
	at := event.Seq(0)
	from := newOrigin("fw1", "broker", 1764077000123456789)
	fill := func() {
		for i := range records {
			at++
			records[i].SetSeq(at)
			if err := r.add(t.Context(), &records[i]); err != nil {
				t.Fatal(err)
			}
			if err := r.window.Done(at); err != nil {
				t.Fatal(err)
			}
		}
		for subject, m := range r.open {
			delete(r.open, subject)
			m.identify(&from, true)
			r.takeBack(m)
			r.free <- m
		}
	}
	fill()
	messages := 0
	for _, m := range drainFree(r) {
		if len(m.seqs) > 0 {
			messages++
		}
		r.free <- m
	}
	if len(r.spare) != messages {
		t.Errorf("%d buffers for %d messages that were open at once", len(r.spare), messages)
	}
	const perMessage = 5 // first, last, count, and twice the id that is put together of them
	if got, budget := testing.AllocsPerRun(runs, fill), float64(perMessage*messages); got > budget {
		t.Errorf("%v allocations for %d records in %d messages, want at most %v", got, len(records), messages, budget)
	}
}

func drainFree(r *run) (all []*message) {
	for len(r.free) > 0 {
		all = append(all, <-r.free)
	}
	return all
}
