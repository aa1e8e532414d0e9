package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/sdk/event"
)

// JetStream's error codes for a message that it will never take, errors.json of the server.
const (
	codeMessageTooLarge = jetstream.JSErrCodeStreamMessageExceedsMaximum
	codeHeaderTooLarge  = 10097
)

// noRetries leaves it to the daemon to send again: what the library sent again would come behind later messages.
var noRetries = []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)}

// take returns an empty message, of which there are max_in_flight. While there is none, open batches are sent and the stream
// is waited for. Batches that are being rebuilt are sent only if they are all there is: then nothing would come back.
func (r *run) take(ctx context.Context, subject string) (*message, error) {
	var m *message
	select {
	case m = <-r.free:
	default:
		if err := r.flush(r.ready); err != nil {
			return nil, err
		}
		if len(r.open) == r.table.MaxInFlight {
			if err := r.flush(always); err != nil {
				return nil, err
			}
		}
		select {
		case m = <-r.free:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if m == nil {
		m = newMessage()
	}
	m.reset(subject, r.lend())
	return m, nil
}

// lend returns memory for a message's data.
func (r *run) lend() (data []byte) {
	if last := len(r.spare) - 1; last >= 0 {
		data, r.spare = r.spare[last], r.spare[:last]
	}
	return data
}

// takeBack takes the memory back that was lent.
func (r *run) takeBack(m *message) {
	r.spare = append(r.spare, m.msg.Data)
	m.msg.Data = nil
}

// publish sends a message, or rejects its record if it can never be taken.
func (r *run) publish(m *message) error {
	defer r.takeBack(m)
	m.identify(&r.origin, r.table.Batch > 1)
	m.bytes = len(m.msg.Data)
	if size := m.size(); size > r.conn.maxSize {
		return r.reject(m, fmt.Sprintf("a message of %d bytes, and the stream takes %d", size, r.conn.maxSize))
	}
	r.mu.Lock()
	r.out[&m.msg] = m
	r.mu.Unlock()
	if _, err := r.conn.js.PublishMsgAsync(&m.msg, noRetries...); err != nil {
		return fmt.Errorf("publishing to %s: %w", m.msg.Subject, err)
	}
	return nil
}

// reject gives up the records of a message and takes it back.
func (r *run) reject(m *message, why string) error {
	for _, seq := range m.seqs {
		if err := r.window.Reject(seq, why); err != nil {
			return err
		}
	}
	r.free <- m
	return nil
}

// landed takes a message out of those that are on their way; nil if it is not one of this run.
func (r *run) landed(msg *natsgo.Msg) *message {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.out[msg]
	delete(r.out, msg)
	return m
}

// stored is called when the stream has a message. Safe for concurrent use.
func (r *run) stored(msg *natsgo.Msg, ack *jetstream.PubAck) {
	if ack.Stream != r.table.Stream.Name {
		r.fail(fmt.Errorf("stream %s takes the subject %s, not %s", ack.Stream, msg.Subject, r.table.Stream.Name))
		return
	}
	m := r.landed(msg)
	if m == nil {
		return
	}
	r.count.messages.Add(1)
	r.count.bytes.Add(uint64(m.bytes))
	if ack.Duplicate {
		r.count.duplicates.Add(1)
	}
	if err := r.window.Done(m.seqs...); err != nil {
		r.fail(err)
		return
	}
	r.free <- m
}

// failed is called when the stream has refused a message. Safe for concurrent use. A message that is refused for what it is
// and holds one record is rejected; everything else may go well the next time.
func (r *run) failed(msg *natsgo.Msg, err error) {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == codeMessageTooLarge || api.ErrorCode == codeHeaderTooLarge) {
		if m := r.landed(msg); m != nil && len(m.seqs) == 1 {
			if err := r.reject(m, "the stream refuses it: "+api.Description); err != nil {
				r.fail(err)
			}
			return
		}
	}
	r.count.refused.Add(1)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		err = fmt.Errorf("no stream takes the subject %s, or it has no leader: %w", msg.Subject, err)
	}
	r.fail(err)
}

// remember keeps how the batches were cut that are not confirmed, for the next run, and forgets the rest.
func (r *run) remember() {
	if r.table.Batch == 1 {
		return
	}
	maps.DeleteFunc(r.cuts, func(seq event.Seq, _ cut) bool { return r.window.Has(seq) })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.out {
		for _, seq := range m.seqs {
			r.cuts[seq] = cut{m.seqs[0], m.seqs[len(m.seqs)-1], len(m.seqs)}
		}
	}
}
