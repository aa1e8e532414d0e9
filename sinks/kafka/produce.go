package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rtflow/pipelined/sdk/event"
)

// Headers of a record. (epoch, sequence) names it among those of its host for ever.
const (
	headerHost     = "Pipelined-Host"     // node.name of the daemon
	headerSink     = "Pipelined-Sink"     // name of the sink
	headerEpoch    = "Pipelined-Epoch"    // of this stream; greater than that of earlier runs
	headerSequence = "Pipelined-Sequence" // the record's number in the sink's stream
	headerKind     = "Pipelined-Kind"     // "session-open", … "loss"
)

// Places in a record's list of headers.
const (
	atHost = iota
	atSink
	atEpoch
	atSequence
	atKind
	numHeaders
)

// newRecord returns an empty record that is recycled in this run.
func (r *run) newRecord() *kgo.Record {
	return &kgo.Record{Headers: []kgo.RecordHeader{
		atHost:     {Key: headerHost, Value: []byte(r.host)},
		atSink:     {Key: headerSink, Value: []byte(r.name)},
		atEpoch:    {Key: headerEpoch, Value: []byte(r.epoch)},
		atSequence: {Key: headerSequence},
		atKind:     {Key: headerKind},
	}}
}

// make fills a record from the free ones, or a new one.
func (r *run) make(rec *event.Record, to string) *kgo.Record {
	k, ok := r.free.Get().(*kgo.Record)
	if !ok {
		k = r.newRecord()
	}
	*k = kgo.Record{Topic: to, Key: k.Key[:0], Value: k.Value[:0], Headers: k.Headers[:numHeaders]}
	k.Key = appendKey(k.Key, rec)
	k.Value = r.enc.Append(k.Value, rec, r.names)
	sequence := &k.Headers[atSequence]
	sequence.Value = strconv.AppendUint(sequence.Value[:0], uint64(rec.Seq()), 10)
	k.Headers[atKind].Value = r.kinds[rec.Kind()]
	return k
}

// sequence returns the sequence number that a record carries.
func sequence(k *kgo.Record) event.Seq {
	var n event.Seq
	for _, c := range k.Headers[atSequence].Value {
		n = n*10 + event.Seq(c-'0')
	}
	return n
}

// landed is called when the brokers have a record, or never will. One goroutine of the client's.
func (r *run) landed(k *kgo.Record, err error) {
	seq := sequence(k)
	switch {
	case err == nil:
		r.count.records.Add(1)
		r.count.bytes.Add(uint64(len(k.Key) + len(k.Value)))
		err = r.window.Done(seq)
		r.free.Put(k)
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.InvalidRecord):
		err = r.refused(seq, err)
	case r.ctx.Err() != nil:
		return // the run is over, and so is the client
	default:
		r.count.refused.Add(1)
		err = fmt.Errorf("topic %s: %w", k.Topic, err)
	}
	if err != nil {
		r.fail(err)
	}
}

// refused is called for each record of a batch that a broker refuses for what is in it. Alone the record is rejected; in
// company it is sent alone in the next run.
func (r *run) refused(seq event.Seq, why error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.refused.Add(1)
	if r.alone == seq {
		r.alone = 0
		r.batchBytes = int(r.table.BatchBytes) // it was this record, not the batch
		return r.window.Reject(seq, why.Error())
	}
	if errors.Is(why, kerr.MessageTooLarge) {
		r.tooLarge = true
	}
	r.suspects[seq] = true
	return fmt.Errorf("a batch is refused; its records are tried one by one: %w", why)
}

// single sends a record with nothing else on its way.
func (r *run) single(ctx context.Context, seq event.Seq, k *kgo.Record) error {
	r.mu.Lock()
	r.alone = seq
	r.mu.Unlock()
	r.client.Produce(ctx, k, r.landed)
	if err := r.client.Flush(ctx); err != nil { // without linger
		return err
	}
	err := r.window.Drain(ctx)
	r.mu.Lock()
	r.alone = 0
	r.mu.Unlock()
	return err
}
