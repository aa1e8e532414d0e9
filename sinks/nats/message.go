package nats

import (
	"net/url"
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/sdk/event"
)

// Headers of a message. Nats-Msg-Id is what the stream drops duplicates by.
const (
	headerHost     = "Pipelined-Host"     // node.name of the daemon
	headerSink     = "Pipelined-Sink"     // name of the sink
	headerEpoch    = "Pipelined-Epoch"    // of this stream; greater than that of earlier runs
	headerSequence = "Pipelined-Sequence" // of the record; of a batch, of the first
	headerLast     = "Pipelined-Last"     // of a batch: sequence of the last record
	headerCount    = "Pipelined-Count"    // of a batch: how many records
)

// headerRoom is more than the headers of any message take beyond what they have of an origin.
const headerRoom = 320

// origin is what the messages of one run have in common.
type origin struct {
	host, sink, epoch string
	id                string // what their ids begin with
}

// newOrigin has the host in the ids too: epochs are times, and a stream that took two hosts' events for the same would drop
// those of one without a word. A name with a slash cannot pass for another host's epoch.
func newOrigin(host, sink string, epoch uint64) origin {
	o := origin{host: host, sink: sink, epoch: strconv.FormatUint(epoch, 10)}
	o.id = url.PathEscape(orUnknown(host)) + "/" + o.epoch + "/" + sink + "/"
	return o
}

// size is how many bytes of a message's headers it takes.
func (o *origin) size() int { return len(o.host) + len(o.sink) + len(o.epoch) + len(o.id) }

// cut is how a batch was made: its first and last record and how many there are. The zero value is no batch.
type cut struct {
	first, last event.Seq
	count       int
}

// message is one message, from its first record until the stream has it. Its data are lent to it until it is published: the
// client library has copied them then, and there may be very many messages on their way.
type message struct {
	msg    natsgo.Msg // its address is what the client library hands back
	seqs   []event.Seq
	bytes  int       // of data, when it is published
	opened time.Time // of a batch: when the first record came
	cut    cut       // of a batch that was sent before: what it has to be again
}

func newMessage() *message {
	m := &message{}
	m.msg.Header = make(natsgo.Header, 7)
	return m
}

// reset empties the message and gives it memory for its data.
func (m *message) reset(subject string, data []byte) {
	m.msg.Subject, m.msg.Data, m.seqs, m.cut = subject, data[:0], m.seqs[:0], cut{}
}

// complete reports whether a batch that was sent before has its records again: all of them, or those that were not evicted
// meanwhile, if the stream is already past them.
func (m *message) complete(at event.Seq) bool { return m.cut.count > 0 && at >= m.cut.last }

// identify sets the headers: they depend on the records in the message and on nothing else, so that the same records make
// the same message.
func (m *message) identify(from *origin, batch bool) {
	first := strconv.FormatUint(uint64(m.seqs[0]), 10)
	id := from.id + first
	if batch {
		last, count := strconv.FormatUint(uint64(m.seqs[len(m.seqs)-1]), 10), strconv.Itoa(len(m.seqs))
		id += "-" + last + "/" + count
		set(m.msg.Header, headerLast, last)
		set(m.msg.Header, headerCount, count)
	}
	set(m.msg.Header, jetstream.MsgIDHeader, id)
	set(m.msg.Header, headerHost, from.host)
	set(m.msg.Header, headerSink, from.sink)
	set(m.msg.Header, headerEpoch, from.epoch)
	set(m.msg.Header, headerSequence, first)
}

// set is Header.Set that reuses the list of values.
func set(h natsgo.Header, key, value string) {
	if list := h[key]; len(list) == 1 {
		list[0] = value
		return
	}
	h[key] = []string{value}
}

// size returns how many bytes of message the server counts: headers (RFC 822 lines after "NATS/1.0") and data.
func (m *message) size() int {
	n := len("NATS/1.0\r\n\r\n") + len(m.msg.Data)
	for key, values := range m.msg.Header {
		n += len(key) + len(": \r\n") + len(values[0])
	}
	return n
}
