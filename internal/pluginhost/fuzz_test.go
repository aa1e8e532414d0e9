package pluginhost

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// tape is a stream of the protocol whose incoming messages are any bytes: each with its length in two bytes before it.
type tape struct {
	grpc.BidiStreamingClient[sinkv1.Down, sinkv1.Up]
	bytes []byte
}

func (c *tape) RecvMsg(m any) error {
	if len(c.bytes) < 2 {
		return io.EOF
	}
	n := min(int(binary.LittleEndian.Uint16(c.bytes)), len(c.bytes)-2)
	message := c.bytes[2 : 2+n]
	c.bytes = c.bytes[2+n:]
	return proto.Unmarshal(message, m.(proto.Message))
}

// ledger checks what reaches the ring.
type ledger struct {
	single
	t        *testing.T
	sent     event.Seq
	acked    event.Seq
	rejected int
}

func (l *ledger) Ack(through event.Seq) error {
	if through > l.sent || through <= l.acked {
		l.t.Errorf("Ack(%d) after %d, %d were sent", through, l.acked, l.sent)
	}
	l.acked = through
	return nil
}

func (l *ledger) Reject(seq event.Seq, why string) {
	if l.rejected++; l.rejected > int(l.sent) {
		l.t.Errorf("%d rejections, %d were sent", l.rejected, l.sent)
	}
	if seq <= l.acked || seq > l.sent || why == "" || len(why) > maxWhy {
		l.t.Errorf("Reject(%d, %q) after Ack(%d), %d were sent", seq, why, l.acked, l.sent)
	}
}

func (c *tape) Send(*sinkv1.Down) error { return nil }

func message(ups ...*sinkv1.Up) (tape []byte) {
	for _, up := range ups {
		b, err := proto.Marshal(up)
		if err != nil {
			panic(err)
		}
		tape = append(binary.LittleEndian.AppendUint16(tape, uint16(len(b))), b...)
	}
	return tape
}

// FuzzUp feeds the host any bytes from a plugin: whatever they are, only what was sent is acknowledged or rejected, and the
// host does not loop or grow.
func FuzzUp(f *testing.F) {
	f.Add(uint16(10), message(&sinkv1.Up{Credit: 100}, &sinkv1.Up{Ack: 5, Credit: 200}, &sinkv1.Up{Ack: 10}))
	f.Add(uint16(10), message(&sinkv1.Up{Ack: 11}))
	f.Add(uint16(10), message(&sinkv1.Up{Ack: 5}, &sinkv1.Up{Ack: 3}, &sinkv1.Up{Ack: 1 << 63}))
	f.Add(uint16(10), message(&sinkv1.Up{Rejections: []*sinkv1.Rejection{{Sequence: 3, Why: "x\x1b[2J"}, {Sequence: 3}}, Ack: 4}))
	f.Add(uint16(0), message(&sinkv1.Up{Credit: 1 << 63}, &sinkv1.Up{}, &sinkv1.Up{Credit: 1}))
	f.Add(uint16(1), message(&sinkv1.Up{Listing: &sinkv1.Listing{Id: 1}}, &sinkv1.Up{Listing: &sinkv1.Listing{Id: 1}}, &sinkv1.Up{Listing: &sinkv1.Listing{}}))
	f.Add(uint16(3), []byte("\x04\x00\xff\xff\xff\xff\x02\x00\x08\x80"))
	f.Fuzz(func(t *testing.T, sent uint16, bytes []byte) {
		l := &ledger{t: t, sent: event.Seq(sent)}
		d := &delivery{call: &tape{bytes: bytes}, stream: l, progress: func() {}, stats: new(stats), granted: make(chan struct{}, 1), names: make(map[uint32]bool), lists: rate.NewLimiter(1, listBurst)}
		d.sent.Store(uint64(sent))
		d.records.Store(uint64(sent))
		err := d.receive()
		var broken *breachError
		if errors.As(err, &broken) && broken.what == "" {
			t.Error("a breach without a word")
		}
		if d.idle > maxIdle+1 {
			t.Errorf("%d idle messages were taken", d.idle)
		}
	})
}
