package syslog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// sized is an encoder whose messages are as long as it says.
type sized struct{ sizes map[event.Seq]int }

func (e sized) Append(b []byte, r *event.Record, _ *event.Names) []byte {
	return append(b, e.message(r.Seq())...)
}

func (e sized) Terminator() string { return "\n" }

func (e sized) message(seq event.Seq) string {
	return strings.Repeat(string('a'+rune(seq%26)), e.sizes[seq])
}

// TestFrames pins the bytes of frames whose messages are formatted in place, over lengths of one to five digits, which follow each other
// in every order and differ between the kinds of events.
func TestFrames(t *testing.T) {
	for _, c := range []struct {
		name  string
		conn  conn
		frame func(n int, msg string) string
	}{
		{"octet counting", &stream{framing: octetCounting}, func(_ int, msg string) string { return strconv.Itoa(len(msg)) + " " + msg }},
		{"newline", &stream{framing: newline}, func(_ int, msg string) string { return msg + "\n" }},
		{"relp", &relp{next: maxTxnr - 100, window: 1 << 20}, func(n int, msg string) string {
			txnr := (maxTxnr-100+n-1)%maxTxnr + 1
			return fmt.Sprintf("%d syslog %d %s\n", txnr, len(msg), msg)
		}},
		{"datagram", &datagrams{}, func(_ int, msg string) string { return msg }},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			enc := sized{make(map[event.Seq]int)}
			var records []event.Record
			for limit := 1; limit <= 10_000; limit *= 10 {
				for _, size := range []int{limit - 1, limit, limit + 1, 3 * limit} {
					for range 5 {
						seq := event.Seq(len(records) + 1)
						enc.sizes[seq] = max(1, size)
						r := sinktest.Record(event.Kind(rng.IntN(int(event.NumKinds))), uint64(seq))
						r.SetSeq(seq)
						records = append(records, r)
					}
				}
			}
			rng.Shuffle(len(records), func(i, j int) {
				a, b := event.Seq(i+1), event.Seq(j+1)
				enc.sizes[a], enc.sizes[b] = enc.sizes[b], enc.sizes[a]
			})
			l := &link{conn: c.conn, counts: &counts{}}
			var want, got strings.Builder
			ends := make(map[event.Seq]int) // in bytes
			for i := range records {
				seq := records[i].Seq()
				want.WriteString(c.frame(i, enc.message(seq)))
				ends[seq] = want.Len()
			}
			for rest := records; len(rest) > 0; {
				n := 1
				if rng.IntN(4) == 0 { // formatted elsewhere
					l.frameCopy(rest[:1], enc.Append(nil, &rest[0], nil))
				} else {
					n = l.frame(rest, enc, nil)
				}
				rest = rest[n:]
				if len(l.buf) >= writeSize || rng.IntN(8) == 0 {
					got.Write(l.buf)
					l.buf = l.buf[:0]
				}
			}
			got.Write(l.buf)
			if got.String() != want.String() {
				at := 0
				for at < min(got.Len(), want.Len()) && got.String()[at] == want.String()[at] {
					at++
				}
				t.Fatalf("%d bytes, want %d; they differ from byte %d on", got.Len(), want.Len(), at)
			}
			if l.marks.len() != len(records) || l.pending != len(records) || l.highest != event.Seq(len(records)) {
				t.Fatalf("%d records are marked, %d pending, up to %d, of %d", l.marks.len(), l.pending, l.highest, len(records))
			}
			for i := range records {
				end := uint64(i + 1)
				if _, ok := c.conn.(*stream); ok {
					end = uint64(ends[event.Seq(i+1)])
				}
				if k := l.marks.ring[i]; k != (mark{end, event.Seq(i + 1)}) {
					t.Fatalf("record %d is over at %d, want %d", k.seq, k.end, end)
				}
			}
		})
	}
}

// TestFrameLimit frames many records at a time for a connection that may have few on their way.
func TestFrameLimit(t *testing.T) {
	const window = 4
	records := numbered(10)
	enc := sized{make(map[event.Seq]int)}
	for i := range records {
		records[i].SetSeq(event.Seq(i + 1))
		enc.sizes[records[i].Seq()] = 10
	}
	l := &link{conn: &relp{window: window}, counts: &counts{}}
	l.frameCopy(records[:1], enc.Append(nil, &records[0], nil))
	if n := l.frame(records[1:], enc, nil); n != window-1 || !l.full() {
		t.Errorf("%d more are framed, want %d; full is %v", n, window-1, l.full())
	}
}

// tornConn is a stream that breaks when the peer has so many bytes.
type tornConn struct {
	stream
	left int
	wire strings.Builder
}

func (c *tornConn) send(b []byte) error {
	n := min(len(b), c.left)
	c.wire.Write(b[:n])
	if c.left -= n; n < len(b) {
		return errFault
	}
	return nil
}

func (c *tornConn) acked() (uint64, error)                     { return uint64(c.wire.Len()), nil }
func (c *tornConn) answers() bool                              { return true } // the peer has what it says
func (c *tornConn) failed() error                              { return nil }
func (c *tornConn) peer() peerInfo                             { return peerInfo{} }
func (c *tornConn) whileBlocked(func() error)                  {}
func (c *tornConn) interrupt()                                 {}
func (c *tornConn) finish() error                              { return nil }
func (c *tornConn) drop()                                      {}
func (c *tornConn) patience() time.Duration                    { return 0 }
func (c *tornConn) dial(context.Context, func()) (conn, error) { return c, nil }

// TestTornBatch ends a connection at each byte of a batch that is sent at once. What is acknowledged are the records that the peer has
// whole, and the next connection begins with the first that it has not.
func TestTornBatch(t *testing.T) {
	step := 7
	if race.Enabled {
		step = 41
	}
	for _, framing := range []framing{octetCounting, newline} {
		records := numbered(6)
		records[2] = sinktest.Record(event.SessionClose, 2) // of another length, with more digits
		records[4] = sinktest.Record(event.PolicyDeny, 4)
		var frames []string
		for _, msg := range want(t, newTestSink(t, "", "tcp://192.0.2.1:1").format, 1, records...) {
			if framing == octetCounting {
				frames = append(frames, strconv.Itoa(len(msg))+" "+msg)
			} else {
				frames = append(frames, msg+"\n")
			}
		}
		all := strings.Join(frames, "")
		for left := 0; left < len(all); left += step {
			sink := newTestSink(quietTB{t}, "", "tcp://192.0.2.1:1")
			s := sinktest.NewStream(t)
			s.Append(records...)
			s.Drain()
			first := &tornConn{stream: stream{framing: framing}, left: left}
			sink.links[0].dialer = first
			if err := s.Run(t.Context(), sink); err == nil {
				t.Fatalf("broken at byte %d, and no error", left)
			}
			whole, size := 0, 0
			for whole < len(frames) && size+len(frames[whole]) <= left {
				size += len(frames[whole])
				whole++
			}
			if got := s.Acked(); got != event.Seq(whole) {
				t.Fatalf("broken at byte %d: acknowledged up to %d, want %d", left, got, whole)
			}
			second := &tornConn{stream: stream{framing: framing}, left: len(all)}
			sink.links[0].dialer = second
			if err := s.Run(t.Context(), sink); err != nil {
				t.Fatal(err)
			}
			if first.wire.String() != all[:left] || second.wire.String() != all[size:] {
				t.Fatalf("broken at byte %d: the connections got %d and %d bytes, want %d and %d", left, first.wire.Len(), second.wire.Len(), left, len(all)-size)
			}
			if got := s.Acked(); got != event.Seq(len(records)) {
				t.Fatalf("broken at byte %d, then not: acknowledged up to %d", left, got)
			}
		}
	}
}
