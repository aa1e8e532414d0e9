package kafka

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rtflow/pipelined/internal/inflight"
	"github.com/rtflow/pipelined/internal/topic"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// Sink produces records to topics.
type Sink struct {
	table  table
	name   string
	host   string
	enc    format.Encoder
	topics *topic.Template
	warn   func(msg string, args ...any)
	window *inflight.Window
	hooks  hooks
	count  counters

	mu sync.Mutex
	// batchBytes is the largest batch that is made: batch_bytes, or less since a broker has refused one.
	batchBytes int
	warnedAt   int                // the smallest that was warned of
	suspects   map[event.Seq]bool // refused in a batch: sent alone; at most as many as fit in the window
	tooLarge   bool               // a batch was too large in this run
}

var (
	_ sdk.Sink            = (*Sink)(nil)
	_ sdk.Reporter        = (*Sink)(nil)
	_ sdk.CounterReporter = (*Sink)(nil)
)

type counters struct{ records, bytes, refused atomic.Uint64 }

// Counters returns what the sink counts.
func (k *Sink) Counters() []sdk.Counter {
	k.hooks.mu.Lock()
	defer k.hooks.mu.Unlock()
	return []sdk.Counter{
		{Name: "connects", Value: k.hooks.connects},
		{Name: "disconnects", Value: k.hooks.disconnects},
		{Name: "records", Value: k.count.records.Load()},
		{Name: "bytes", Value: k.count.bytes.Load()},
		{Name: "refused", Value: k.count.refused.Load()},
	}
}

// Status is what a sink reports about itself.
type Status struct {
	InFlight  int    `json:"in_flight"`                       // records, from the oldest that is not confirmed to the newest
	LastError string `json:"last_connection_error,omitempty"` // if the last connection that was tried has failed
}

// Status returns a [Status].
func (k *Sink) Status() any {
	s := Status{InFlight: k.window.Len()}
	k.hooks.mu.Lock()
	defer k.hooks.mu.Unlock()
	if k.hooks.lastError != nil {
		s.LastError = k.hooks.lastError.Error()
	}
	return s
}

// Run produces until ctx ends, the stream is drained, or something fails.
func (k *Sink) Run(ctx context.Context, s sdk.Stream) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{Sink: k, ctx: ctx, stream: s, fail: cancel, epoch: strconv.FormatUint(s.Epoch(), 10)}
	for _, kind := range event.Kinds() {
		r.kinds[kind] = []byte(kind.String())
	}
	if r.client, err = k.connect(ctx); err != nil {
		return err
	}
	k.window.Begin(s)
	defer k.forget()
	defer k.window.End()
	var watch sync.WaitGroup
	watch.Go(func() {
		if err := k.window.Watch(ctx, k.table.AckTimeout); err != nil {
			cancel(k.because(err))
		}
	})
	if err = r.loop(ctx); err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // what came first is the reason; the rest follows from it
	}
	cancel(nil)
	r.client.Close() // returns when the client has told of every record
	watch.Wait()
	return err
}

// batchSize returns the largest batch for this run: a smaller one after one was too large for a broker, whose limit is then
// not ours.
func (k *Sink) batchSize() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.tooLarge {
		return k.batchBytes
	}
	k.tooLarge = false
	k.batchBytes = max(k.batchBytes/2, minBatchBytes)
	if k.warnedAt == 0 || k.batchBytes < k.warnedAt {
		k.warnedAt = k.batchBytes
		k.warn("a broker takes smaller batches than batch_bytes", "sink", k.name, "batch_bytes", int64(k.table.BatchBytes),
			"now", k.batchBytes)
	}
	return k.batchBytes
}

// forget drops suspicions about records that are settled, or evicted since.
func (k *Sink) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.suspects, func(seq event.Seq, _ bool) bool { return k.window.Has(seq) })
}

// run is one call of Run.
type run struct {
	*Sink
	ctx    context.Context
	stream sdk.Stream
	client *kgo.Client
	fail   func(error) // ends the run; the first error counts
	epoch  string
	kinds  [event.NumKinds][]byte
	names  *event.Names
	free   sync.Pool // of *kgo.Record; there are at most as many as fit in the window

	alone event.Seq // the record that is on its way alone, under Sink.mu
}

func (r *run) loop(ctx context.Context) error {
	for {
		b, err := r.stream.Next(ctx, -1)
		for i := range b.Records {
			if err := r.add(ctx, &b.Records[i]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, sdk.ErrDrained):
			return r.window.Drain(ctx)
		default:
			return err
		}
	}
}

// add hands a record to the client.
func (r *run) add(ctx context.Context, rec *event.Record) error {
	seq := rec.Seq()
	if err := r.window.Wait(ctx, seq); err != nil {
		return err
	}
	suspect := r.suspected(seq)
	if suspect {
		if err := r.window.Drain(ctx); err != nil {
			return err
		}
	}
	send, err := r.window.Add(seq)
	if err != nil || !send {
		return err
	}
	if r.names == nil || r.names.Generation != rec.Generation {
		r.names = r.stream.Names(rec.Generation)
	}
	to := r.topics.Of(rec, r.names)
	if to == "." || to == ".." || len(to) > maxTopic {
		return r.window.Reject(seq, checkTopic(to).Error())
	}
	k := r.make(rec, to)
	if suspect {
		return r.single(ctx, seq, k)
	}
	r.client.Produce(ctx, k, r.landed)
	return nil
}

func (r *run) suspected(seq event.Seq) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.suspects[seq]
}
