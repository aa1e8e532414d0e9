package nats

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/internal/inflight"
	"github.com/rtflow/pipelined/internal/topic"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// script is a stream whose Next pauses where a portion is empty, however long the sink is ready to wait.
type script struct {
	sdk.Stream
	portions [][]event.Record
}

func (s *script) Epoch() uint64 { return 1 }

func (s *script) Next(ctx context.Context, wait time.Duration) (sdk.Batch, error) {
	if len(s.portions) == 0 {
		return sdk.Batch{}, sdk.ErrDrained
	}
	p := s.portions[0]
	if len(p) == 0 && wait >= 0 {
		time.Sleep(wait) // the clock of the bubble
	}
	s.portions = s.portions[1:]
	return sdk.Batch{Records: p}, ctx.Err()
}

func (s *script) Names(uint32) *event.Names { return sinktest.Names() }
func (s *script) Ack(event.Seq) error       { return nil }

// fakeJetStream takes batches and confirms nothing.
type fakeJetStream struct {
	jetstream.JetStream
	sent []*natsgo.Msg
}

func (f *fakeJetStream) PublishMsgAsync(m *natsgo.Msg, _ ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	f.sent = append(f.sent, m)
	return nil, nil
}

// ids returns FIRST-LAST/COUNT of what was sent.
func (f *fakeJetStream) ids() (list []string) {
	for _, m := range f.sent {
		h := m.Header
		list = append(list, h.Get(headerSequence)+"-"+h.Get(headerLast)+"/"+h.Get(headerCount))
	}
	return list
}

// rebuildRun is a run of the sink "b" after one that had sent those batches and was told nothing.
func rebuildRun(t *testing.T, maxInFlight int, portions [][]event.Record, batches ...[]event.Seq) (*run, *fakeJetStream) {
	t.Helper()
	enc, err := format.New(format.Options{Format: format.Frames})
	if err != nil {
		t.Fatal(err)
	}
	subjects, err := topic.Parse("{kind}", nil, escape)
	if err != nil {
		t.Fatal(err)
	}
	js := &fakeJetStream{}
	r := &run{
		Sink: &Sink{table: defaults(), name: "b", enc: enc, subjects: subjects, window: inflight.New(1000), cuts: make(map[event.Seq]cut)},
		conn: &connection{maxSize: 1 << 20, js: js}, origin: newOrigin("fw1", "b", 1),
		open: make(map[string]*message), out: make(map[*natsgo.Msg]*message), free: make(chan *message, maxInFlight),
	}
	r.table.Batch, r.table.MaxInFlight = 10, maxInFlight
	for range maxInFlight {
		r.free <- nil
	}
	for _, seqs := range batches {
		for _, seq := range seqs {
			r.cuts[seq] = cut{seqs[0], seqs[len(seqs)-1], len(seqs)}
		}
	}
	s := &script{portions: portions}
	r.stream = s
	r.window.Begin(s)
	return r, js
}

// span returns the records from first to last, of one kind.
func span(kind event.Kind, first, last event.Seq) (list []event.Record) {
	for seq := first; seq <= last; seq++ {
		rec := sinktest.Record(kind, uint64(seq))
		rec.SetSeq(seq)
		list = append(list, rec)
	}
	return list
}

// TestRebuildWithPauses: records of batches that were sent before come with pauses longer than linger in between, as they do
// from another process, and with records of another subject that do not wait. The batches become what they were.
func TestRebuildWithPauses(t *testing.T) {
	const open, deny = event.SessionOpen, event.PolicyDeny
	for _, c := range []struct {
		name     string
		portions [][]event.Record // nil is a pause
		want     []string
	}{
		{"a pause", [][]event.Record{span(open, 1, 3), nil, span(open, 4, 8)}, []string{"1-8/8"}},
		{
			"pauses", [][]event.Record{span(open, 1, 1), nil, nil, span(open, 2, 7), nil, span(open, 8, 9), nil, span(open, 11, 12)},
			[]string{"1-8/8", "9-12/3"},
		},
		{
			"another subject meanwhile", [][]event.Record{span(open, 1, 9), span(deny, 10, 10), nil, span(open, 11, 13), nil},
			[]string{"1-8/8", "10-10/1", "9-12/3", "13-13/1"},
		},
		{"evicted meanwhile", [][]event.Record{span(open, 1, 3), nil, span(open, 13, 13), nil}, []string{"1-3/3", "13-13/1"}},
		{"the end", [][]event.Record{span(open, 1, 3), nil}, []string{"1-3/3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, js := rebuildRun(t, 100, c.portions, []event.Seq{1, 2, 3, 4, 5, 6, 7, 8}, []event.Seq{9, 11, 12})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				// In the end the loop waits for confirmations, and there are none.
				if err := r.loop(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				if !slices.Equal(js.ids(), c.want) {
					t.Errorf("sent %q, want %q", js.ids(), c.want)
				}
			})
		})
	}
}

// TestRebuildWithoutMessages: a batch needs a message while all are in use. Those that are being rebuilt are not broken off
// for it if another message can come back, and are if not.
func TestRebuildWithoutMessages(t *testing.T) {
	for _, c := range []struct {
		name        string
		maxInFlight int
		from        event.Seq
		want        []string
	}{
		{"one is on its way", 2, 1, []string{"1-4/4"}},
		{"none is on its way", 1, 5, []string{"5-6/2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, js := rebuildRun(t, c.maxInFlight, nil, []event.Seq{1, 2, 3, 4}, []event.Seq{5, 6, 7, 8})
				records := span(event.SessionOpen, c.from, 6)
				for i := range records {
					if err := r.add(t.Context(), &records[i]); err != nil {
						t.Fatal(err)
					}
				}
				taken := make(chan error, 1)
				go func() {
					_, err := r.take(t.Context(), "other")
					taken <- err
				}()
				synctest.Wait()
				if !slices.Equal(js.ids(), c.want) {
					t.Errorf("sent %q, want %q", js.ids(), c.want)
				}
				r.stored(js.sent[0], &jetstream.PubAck{})
				if err := <-taken; err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
