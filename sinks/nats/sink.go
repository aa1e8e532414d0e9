package nats

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/internal/inflight"
	"github.com/rtflow/pipelined/internal/topic"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// Sink publishes records to a stream.
type Sink struct {
	table    table
	name     string
	host     string
	enc      format.Encoder
	subjects *topic.Template
	warn     func(msg string, args ...any)
	window   *inflight.Window

	// cuts says of records whose batch was sent and not confirmed how it was cut; there are at most as many as fit in the
	// window.
	cuts  map[event.Seq]cut
	count counters

	mu         sync.Mutex
	discovered []string // servers that the last one told about
	server     string   // the last one
	duplicates time.Duration
	warned     bool // that the stream's memory for duplicates is short
}

var (
	_ sdk.Sink            = (*Sink)(nil)
	_ sdk.Reporter        = (*Sink)(nil)
	_ sdk.CounterReporter = (*Sink)(nil)
)

type counters struct {
	connects, messages, bytes, duplicates, refused atomic.Uint64
}

// Counters returns what the sink counts.
func (k *Sink) Counters() []sdk.Counter {
	return []sdk.Counter{
		{Name: "connects", Value: k.count.connects.Load()},
		{Name: "messages", Value: k.count.messages.Load()},
		{Name: "bytes", Value: k.count.bytes.Load()},
		{Name: "duplicates", Value: k.count.duplicates.Load()},
		{Name: "refused", Value: k.count.refused.Load()},
	}
}

// Status is what a sink reports about itself.
type Status struct {
	Server     string `json:"server,omitempty"` // the last one it was connected to
	Stream     string `json:"stream"`
	Duplicates string `json:"duplicate_window,omitempty"` // for how long the stream remembers a message
	InFlight   int    `json:"in_flight"`                  // records, from the oldest that is not confirmed to the newest
}

// Status returns a [Status].
func (k *Sink) Status() any {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{Server: k.server, Stream: k.table.Stream.Name, InFlight: k.window.Len()}
	if k.duplicates > 0 {
		s.Duplicates = k.duplicates.String()
	}
	return s
}

// opened notes what the sink is connected to, and warns once if a message that has to be sent again after ack_timeout may
// be stored twice.
func (k *Sink) opened(server string, config jetstream.StreamConfig) {
	k.count.connects.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.server, k.duplicates = server, config.Duplicates
	short := config.Duplicates < 2*k.table.AckTimeout
	if short && !k.warned {
		k.warn("the stream forgets message ids too soon to drop every duplicate", "sink", k.name, "stream", config.Name,
			"duplicate_window", config.Duplicates.String(), "ack_timeout", k.table.AckTimeout.String())
	}
	k.warned = short
}

// Run publishes until ctx ends, the stream is drained, or something fails.
func (k *Sink) Run(ctx context.Context, s sdk.Stream) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &run{
		Sink:   k,
		stream: s,
		fail:   cancel,
		origin: newOrigin(k.host, k.name, s.Epoch()),
		out:    make(map[*natsgo.Msg]*message),
		open:   make(map[string]*message),
		free:   make(chan *message, k.table.MaxInFlight),
	}
	for range k.table.MaxInFlight {
		r.free <- nil // made when it is needed
	}
	k.window.Begin(s)
	defer r.remember()
	defer k.window.End()
	defer cancel(nil)
	r.conn, err = k.connect(ctx, events{fail: cancel, stored: r.stored, failed: r.failed})
	if err != nil {
		return err
	}
	var watch sync.WaitGroup
	watch.Go(func() {
		if err := k.window.Watch(ctx, k.table.AckTimeout); err != nil {
			cancel(err)
		}
	})
	if err = r.loop(ctx); err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // what came first is the reason; the rest follows from it
	}
	cancel(nil)
	r.conn.close()
	watch.Wait()
	return err
}

// run is one call of Run.
type run struct {
	*Sink
	stream sdk.Stream
	conn   *connection
	fail   func(error) // ends the run; the first error counts
	origin origin
	names  *event.Names
	at     event.Seq // the last record that was added

	buf   []byte
	spare [][]byte            // memory for data that no message has; at most as many as were open at once, and one
	open  map[string]*message // batches that are not full, by subject
	free  chan *message       // those that are not in use; nil is one that was never made

	mu  sync.Mutex
	out map[*natsgo.Msg]*message // on their way
}

func (r *run) loop(ctx context.Context) error {
	for {
		b, err := r.stream.Next(ctx, r.patience())
		for i := range b.Records {
			if err := r.add(ctx, &b.Records[i]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, sdk.ErrDrained):
			if err := r.flush(always); err != nil {
				return err
			}
			return r.window.Drain(ctx)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		if err := r.flush(r.old); err != nil {
			return err
		}
	}
}

// patience is how long to wait for more records: until the oldest open batch has waited for linger. One that has to become
// what it was is waited for: its records are in the ring, and if they were evicted, later ones are.
func (r *run) patience() time.Duration {
	wait := time.Duration(-1)
	for _, m := range r.open {
		if r.rebuilding(m) {
			continue
		}
		left := max(0, time.Until(m.opened.Add(r.table.Linger)))
		if wait < 0 || left < wait {
			wait = left
		}
	}
	return wait
}

// add puts a record into a message.
func (r *run) add(ctx context.Context, rec *event.Record) error {
	seq := rec.Seq()
	if !r.window.Fits(seq) {
		// Batches that were sent before lie within the window as it was, so this record is behind all of them.
		if err := r.flush(always); err != nil {
			return err
		}
		if err := r.window.Wait(ctx, seq); err != nil {
			return err
		}
	}
	r.at = seq
	send, err := r.window.Add(seq)
	if err != nil || !send {
		return err
	}
	if r.names == nil || r.names.Generation != rec.Generation {
		r.names = r.stream.Names(rec.Generation)
	}
	subject := r.subjects.Of(rec, r.names)
	r.buf = r.enc.Append(r.buf[:0], rec, r.names)
	if r.table.Batch > 1 {
		r.buf = append(r.buf, r.enc.Terminator()...)
		return r.addToBatch(ctx, seq, subject)
	}
	m, err := r.take(ctx, subject)
	if err != nil {
		return err
	}
	m.seqs, m.msg.Data = append(m.seqs, seq), append(m.msg.Data, r.buf...)
	return r.publish(m)
}

// addToBatch puts what is in buf into the open batch of its subject, and sends what is full.
func (r *run) addToBatch(ctx context.Context, seq event.Seq, subject string) error {
	again := r.cuts[seq]
	m := r.open[subject]
	room := r.conn.maxSize - headerRoom - r.origin.size()
	if m != nil && (m.cut != again || len(m.msg.Data)+len(r.buf) > room) {
		if err := r.seal(subject); err != nil {
			return err
		}
		m = nil
	}
	if m == nil {
		var err error
		if m, err = r.take(ctx, subject); err != nil {
			return err
		}
		m.opened, m.cut = time.Now(), again
		r.open[subject] = m
	}
	m.seqs, m.msg.Data = append(m.seqs, seq), append(m.msg.Data, r.buf...)
	if m.complete(seq) || again.count == 0 && len(m.seqs) >= r.table.Batch {
		return r.seal(subject)
	}
	return nil
}

// seal sends the open batch of a subject.
func (r *run) seal(subject string) error {
	m := r.open[subject]
	delete(r.open, subject)
	return r.publish(m)
}

// flush sends the open batches of which due says so.
func (r *run) flush(due func(*message) bool) error {
	for subject, m := range r.open {
		if !due(m) {
			continue
		}
		if err := r.seal(subject); err != nil {
			return err
		}
	}
	return nil
}

// always is every batch.
func always(*message) bool { return true }

// ready is a batch that may be sent, whether or not it is full.
func (r *run) ready(m *message) bool { return !r.rebuilding(m) }

// old is one that has waited for linger, or has become what it was.
func (r *run) old(m *message) bool {
	return m.complete(r.at) || m.cut.count == 0 && time.Since(m.opened) >= r.table.Linger
}

// rebuilding reports whether a batch was sent before and does not have its records again yet. If it were sent now, it would
// have another id, and the stream would have its records twice.
func (r *run) rebuilding(m *message) bool { return m.cut.count > 0 && !m.complete(r.at) }
