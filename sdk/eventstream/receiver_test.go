package eventstream_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// reads are the pieces a producer writes on one connection, each of which the receiver reads at once.
type reads [][]byte

func piece(frames ...[]byte) (b []byte) {
	for _, f := range frames {
		b = append(b, f...)
	}
	return b
}

// TestReceiver plays connections one after the other against one receiver, and compares what its handler and its producer
// see, in order.
func TestReceiver(t *testing.T) {
	for _, c := range []struct {
		name        string
		from        eventstream.Position
		connections []reads
		want        string
		stats       eventstream.Stats
	}{
		{
			name:        "records are acknowledged after the handler has them, once per read",
			connections: []reads{{hello(7, 1), piece(opened(1), deny(2)), piece(closed(3), loss(4, event.LossRateLimited, 9))}},
			want: `connected; hello 7 from 1, last 0/0; session-open 1; policy-deny 2; batch 7/2; commit 7/2; > ack 2;
				session-close 3; loss 4; batch 7/4; commit 7/4; > ack 4; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 4}, Acked: 4, Connections: 1, Reads: 2, Acks: 2,
				Records: [event.NumKinds]uint64{event.SessionOpen: 1, event.PolicyDeny: 1, event.SessionClose: 1, event.Loss: 1},
			},
		},
		{
			name:        "a replay is dropped and acknowledged",
			connections: []reads{{piece(hello(7, 1), denies(1, 5))}, {piece(hello(7, 3), denies(3, 4)), denies(5, 6)}},
			want: `connected; hello 7 from 1, last 0/0; policy-deny 1; policy-deny 2; policy-deny 3; policy-deny 4; policy-deny 5;
				batch 7/5; commit 7/5; > ack 5; disconnected: <nil>;
				connected; hello 7 from 3, last 7/5; commit 7/5; > ack 4; policy-deny 6; batch 7/6; commit 7/6; > ack 6; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 6}, Acked: 6, Connections: 2, Reads: 2, Acks: 3,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 6}, Duplicates: 3, Replays: 1,
			},
		},
		{
			name:        "a restarted receiver goes on where it was",
			from:        eventstream.Position{Epoch: 7, Seq: 2},
			connections: []reads{{piece(hello(7, 1), denies(1, 3))}},
			want:        `connected; hello 7 from 1, last 7/2; policy-deny 3; batch 7/3; commit 7/3; > ack 3; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 3}, Acked: 3, Connections: 1, Reads: 1, Acks: 1,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1}, Duplicates: 2, Replays: 1,
			},
		},
		{
			name:        "a restarted producer counts from the beginning",
			from:        eventstream.Position{Epoch: 7, Seq: 200},
			connections: []reads{{piece(hello(8, 1), deny(1))}},
			want:        `connected; hello 8 from 1, last 7/200; policy-deny 1; batch 8/1; commit 8/1; > ack 1; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 8, Seq: 1}, Acked: 1, Connections: 1, Reads: 1, Acks: 1,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1}, Restarts: 1,
			},
		},
		{
			name:        "what somebody else has acknowledged before is not missing, what comes between is",
			connections: []reads{{piece(hello(7, 50), deny(52))}},
			want:        `connected; hello 7 from 50, last 0/0; 50 to 51 not announced; policy-deny 52; batch 7/52; commit 7/52; > ack 52; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 52}, Acked: 52, Connections: 1, Reads: 1, Acks: 1,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1}, Gaps: 1, Missing: 2,
			},
		},
		{
			name:        "what somebody else has taken of our stream is missing",
			from:        eventstream.Position{Epoch: 7, Seq: 10},
			connections: []reads{{piece(hello(7, 20), deny(20))}},
			want:        `connected; hello 7 from 20, last 7/10; 11 to 19 not announced; policy-deny 20; batch 7/20; commit 7/20; > ack 20; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 20}, Acked: 20, Connections: 1, Reads: 1, Acks: 1,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1}, Gaps: 1, Missing: 9,
			},
		},
		{
			name: "a loss record accounts for the records it stands for, no other",
			connections: []reads{{piece(hello(7, 1), deny(1), loss(5, event.LossEvicted, 4)), loss(9, event.LossEvicted, 2),
				loss(12, event.LossRateLimited, 100)}},
			want: `connected; hello 7 from 1, last 0/0; policy-deny 1; 2 to 4 announced by a loss record; loss 5; batch 7/5; commit 7/5; > ack 5;
				6 to 8 not announced; loss 9; batch 7/9; commit 7/9; > ack 9;
				10 to 11 not announced; loss 12; batch 7/12; commit 7/12; > ack 12; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 12}, Acked: 12, Connections: 1, Reads: 3, Acks: 3,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1, event.Loss: 3}, Gaps: 2, Missing: 5, Announced: 3,
			},
		},
		{
			name: "a resync is acknowledged when the sessions are forgotten, and records may stand in the table",
			connections: []reads{
				{piece(hello(7, 1), denies(1, 2))},
				{hello(7, 9), control(eventstream.FullResync, 8), piece(opened(0), opened(0)), piece(deny(9), opened(0), control(eventstream.TableEnd, 0), deny(10))},
			},
			want: `connected; hello 7 from 1, last 0/0; policy-deny 1; policy-deny 2; batch 7/2; commit 7/2; > ack 2; disconnected: <nil>;
				connected; hello 7 from 9, last 7/2; 3 to 8 announced by a resync; resync; batch 7/8; commit 7/8; > ack 8;
				table: session-open 0; table: session-open 0; batch 7/8;
				policy-deny 9; table: session-open 0; synced; policy-deny 10; batch 7/10; commit 7/10; > ack 10; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 10}, Acked: 10, Connections: 2, Reads: 4, Acks: 3,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 4}, Sessions: 3, Resyncs: 1, Announced: 6,
			},
		},
		{
			name: "a resync at a number that is acknowledged is acknowledged again, and one before the first record too",
			connections: []reads{{piece(hello(7, 1), control(eventstream.FullResync, 0)), deny(1), control(eventstream.FullResync, 1),
				piece(control(eventstream.FullResync, 1), deny(2))}},
			want: `connected; hello 7 from 1, last 0/0; resync; batch 7/0; commit 7/0; > ack 0; policy-deny 1; batch 7/1; commit 7/1; > ack 1;
				resync; batch 7/1; commit 7/1; > ack 1; resync; policy-deny 2; batch 7/2; commit 7/2; > ack 2; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 2}, Acked: 2, Connections: 1, Reads: 4, Acks: 4,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 2}, Resyncs: 3,
			},
		},
		{
			name: "a resync among what is handled already does not go back, nor acknowledge what has not come",
			connections: []reads{
				{piece(hello(7, 1), denies(1, 6))},
				{piece(hello(7, 4), control(eventstream.FullResync, 3)), denies(4, 7)},
			},
			want: `connected; hello 7 from 1, last 0/0; policy-deny 1; policy-deny 2; policy-deny 3; policy-deny 4; policy-deny 5; policy-deny 6;
				batch 7/6; commit 7/6; > ack 6; disconnected: <nil>;
				connected; hello 7 from 4, last 7/6; resync; batch 7/6; commit 7/6; > ack 3; policy-deny 7; batch 7/7; commit 7/7; > ack 7; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 7}, Acked: 7, Connections: 2, Reads: 3, Acks: 3,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 7}, Resyncs: 1, Replays: 1, Duplicates: 3,
			},
		},
		{
			name: "a table that is cut off begins again",
			connections: []reads{
				{piece(hello(7, 4), control(eventstream.FullResync, 3)), opened(0)},
				{piece(hello(7, 4), control(eventstream.FullResync, 3)), piece(opened(0), deny(4))},
			},
			want: `connected; hello 7 from 4, last 0/0; resync; batch 7/3; commit 7/3; > ack 3; table: session-open 0; batch 7/3; disconnected: <nil>;
				connected; hello 7 from 4, last 7/3; resync; batch 7/3; commit 7/3; > ack 3;
				table: session-open 0; policy-deny 4; batch 7/4; commit 7/4; > ack 4; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 4}, Acked: 4, Connections: 2, Reads: 4, Acks: 3,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1}, Sessions: 2, Resyncs: 2,
			},
		},
		{
			name: "without a hello duplicates are told within a connection",
			connections: []reads{
				{piece(delta(eventstream.SessionOpen, 5), deny(6)), piece(deny(5), deny(6), delta(eventstream.SessionClose, 7))},
				{piece(deny(7), delta(eventstream.SessionUpdate, 9))},
			},
			want: `connected; session-open 5; policy-deny 6; batch 0/6; commit 0/6; > ack 6; session-close 7; batch 0/7; commit 0/7; > ack 7; disconnected: <nil>;
				connected; policy-deny 7; 8 to 8 not announced; session-open 9; batch 0/9; commit 0/9; > ack 9; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Seq: 9}, Acked: 9, Connections: 2, Reads: 3, Acks: 3,
				Records:    [event.NumKinds]uint64{event.PolicyDeny: 2, event.SessionOpen: 2, event.SessionClose: 1},
				Duplicates: 2, Gaps: 1, Missing: 1,
			},
		},
		{
			name: "a resync and its table without a hello",
			connections: []reads{{deny(2), control(eventstream.FullResync, 5),
				piece(delta(eventstream.SessionUpdate, 0), delta(eventstream.SessionOpen, 6))}},
			want: `connected; policy-deny 2; batch 0/2; commit 0/2; > ack 2; 3 to 5 announced by a resync; resync; batch 0/5; commit 0/5; > ack 5;
				table: session-open 0; session-open 6; batch 0/6; commit 0/6; > ack 6; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Seq: 6}, Acked: 6, Connections: 1, Reads: 3, Acks: 3,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1, event.SessionOpen: 1}, Sessions: 1, Resyncs: 1, Announced: 3,
			},
		},
		{
			name: "a stream with an epoch survives a connection without one",
			connections: []reads{
				{piece(hello(7, 1), denies(1, 2))}, {deny(1)}, {piece(hello(7, 1), denies(1, 3))},
			},
			want: `connected; hello 7 from 1, last 0/0; policy-deny 1; policy-deny 2; batch 7/2; commit 7/2; > ack 2; disconnected: <nil>;
				connected; policy-deny 1; batch 0/1; commit 0/1; > ack 1; disconnected: <nil>;
				connected; hello 7 from 1, last 7/2; policy-deny 3; batch 7/3; commit 7/3; > ack 3; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 3}, Acked: 3, Connections: 3, Reads: 3, Acks: 3,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 4}, Duplicates: 2, Replays: 1,
			},
		},
		{
			name: "what cannot be understood is counted and acknowledged in its turn",
			connections: []reads{{
				piece(hello(7, 1), odd(99, 1), odd(event.FramePolicyDeny, 2), odd(eventstream.SessionOpen, 3), deny(4)),
				piece(odd(99, 0), odd(event.FrameSessionOpen, 0), closed(0), odd(event.FrameLoss, 5)),
				piece(odd(99, 5), hello(8, 1)),
			}},
			want: `connected; hello 7 from 1, last 0/0; policy-deny 4; batch 7/4; commit 7/4; > ack 4; batch 7/5; commit 7/5; > ack 5; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 5}, Acked: 5, Connections: 1, Reads: 2, Acks: 2,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1}, Duplicates: 1, Unknown: 2, Malformed: 6,
				LastMalformed: "eventstream: a hello that is not the first frame",
			},
		},
		{
			name: "numbers of control frames are not places in the stream",
			connections: []reads{{
				piece(hello(7, 1), control(eventstream.Ack, 100), control(eventstream.DrainRequest, 100), control(eventstream.Pause, 100),
					control(eventstream.Resume, 100), control(eventstream.DrainComplete, 100), deny(1)),
			}},
			want: `connected; hello 7 from 1, last 0/0; policy-deny 1; batch 7/1; commit 7/1; > ack 1; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 1}, Acked: 1, Connections: 1, Reads: 1, Acks: 1,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1}, Unknown: 4,
			},
		},
		{
			name: "the largest numbers there are",
			connections: []reads{{
				piece(hello(7, 0), deny(1), control(eventstream.FullResync, ^event.Seq(0)-2)), deny(^event.Seq(0)), deny(^event.Seq(0)),
			}},
			want: `connected; hello 7 from 0, last 0/0; policy-deny 1; 2 to 18446744073709551613 announced by a resync; resync;
				batch 7/18446744073709551613; commit 7/18446744073709551613; > ack 18446744073709551613;
				18446744073709551614 to 18446744073709551614 not announced; policy-deny 18446744073709551615;
				batch 7/18446744073709551615; commit 7/18446744073709551615; > ack 18446744073709551615; disconnected: <nil>`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: ^event.Seq(0)}, Acked: ^event.Seq(0), Connections: 1, Reads: 2, Acks: 2,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 2}, Resyncs: 1, Gaps: 1, Missing: 1, Announced: 18446744073709551612,
				Duplicates: 1,
			},
		},
		{
			name:        "keepalives are answered, and acknowledge nothing",
			connections: []reads{{hello(7, 1), piece(control(eventstream.Keepalive, 0), control(eventstream.Keepalive, 9)), control(eventstream.Keepalive, 0)}},
			want:        `connected; hello 7 from 1, last 0/0; > keepalive 0; > keepalive 0; disconnected: <nil>`,
			stats:       eventstream.Stats{Position: eventstream.Position{Epoch: 7}, Connections: 1, Keepalives: 3},
		},
		{
			name:        "a connection that ends inside a frame",
			connections: []reads{{piece(hello(7, 1), deny(1), deny(2)[:100])}},
			want: `connected; hello 7 from 1, last 0/0; policy-deny 1; batch 7/1; commit 7/1; > ack 1;
				disconnected: eventstream: the connection ended inside a frame: unexpected EOF`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 1}, Acked: 1, Connections: 1, Reads: 1, Acks: 1,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1},
			},
		},
		{
			name:        "a length that cannot be",
			connections: []reads{{piece(hello(7, 1), deny(1), eventstream.AppendFrame(nil, 11, 2000, 2))}},
			want: `connected; hello 7 from 1, last 0/0; policy-deny 1; batch 7/1; commit 7/1; > ack 1;
				disconnected: event: frame of type 11: length 2000 is above the limit of 1024 bytes`,
			stats: eventstream.Stats{
				Position: eventstream.Position{Epoch: 7, Seq: 1}, Acked: 1, Connections: 1, Reads: 1, Acks: 1,
				Records: [event.NumKinds]uint64{event.PolicyDeny: 1},
			},
		},
		{
			name:        "a protocol that is not ours",
			connections: []reads{{piece(eventstream.AppendHello(nil, eventstream.Hello{Version: 2, Epoch: 7, First: 1}), deny(1))}},
			want:        `connected; disconnected: eventstream: protocol version 2, this is version 1`,
			stats:       eventstream.Stats{Connections: 1},
		},
		{
			name:        "nothing at all",
			connections: []reads{{}},
			want:        `connected; disconnected: <nil>`,
			stats:       eventstream.Stats{Connections: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := new(journal)
				r := &eventstream.Receiver{Handler: j.handler(), From: c.from}
				for _, reads := range c.connections {
					here, there := net.Pipe()
					p := newProducer(t, there, j)
					j.last = p
					served := make(chan error, 1)
					go func() { served <- r.Serve(t.Context(), here) }()
					for _, b := range reads {
						p.send(b)
						synctest.Wait()
					}
					p.close()
					<-served
				}
				j.expect(t, "calls and frames", strings.Join(strings.Fields(c.want), " "))
				if diff := cmp.Diff(c.stats, r.Stats()); diff != "" {
					t.Errorf("stats (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// bench is a receiver that serves one connection, and its producer, in a bubble of synctest.
type bench struct {
	*journal
	*producer
	served chan error
	cancel context.CancelFunc
}

// serve starts r with a handler that notes everything, and that adjust may change.
func serve(t *testing.T, r *eventstream.Receiver, adjust ...func(*eventstream.Handler)) *bench {
	t.Helper()
	b := &bench{journal: &journal{fail: make(map[string]error)}, served: make(chan error, 1)}
	r.Handler = b.handler()
	for _, f := range adjust {
		f(&r.Handler)
	}
	here, there := net.Pipe()
	b.producer = newProducer(t, there, b.journal)
	b.last = b.producer
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	go func() { b.served <- r.Serve(ctx, here) }()
	synctest.Wait()
	b.expect(t, "at first", "connected")
	return b
}

// end ends the connection and returns what Serve did.
func (b *bench) end() error {
	b.leave()
	return <-b.served
}

// leave ends the connection from the producer's side.
func (b *bench) leave() {
	b.close()
	b.cancel()
}

func TestAckEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &eventstream.Receiver{AckEvery: 100 * time.Millisecond}
		b := serve(t, r)
		b.send(hello(7, 1), deny(1))
		synctest.Wait()
		b.expect(t, "the first", "hello 7 from 1, last 0/0; policy-deny 1; batch 7/1; commit 7/1; > ack 1")
		time.Sleep(30 * time.Millisecond)
		b.send(deny(2), deny(3)[:50])
		time.Sleep(30 * time.Millisecond)
		b.send(deny(3)[50:])
		time.Sleep(39 * time.Millisecond)
		b.expect(t, "before it is due", "policy-deny 2; batch 7/2; policy-deny 3; batch 7/3")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		b.expect(t, "when it is due", "commit 7/3; > ack 3")
		b.send(deny(4))
		synctest.Wait()
		b.send(control(eventstream.FullResync, 4))
		synctest.Wait()
		b.expect(t, "a resync does not wait", "policy-deny 4; batch 7/4; resync; batch 7/4; commit 7/4; > ack 4")
		b.send(deny(5))
		synctest.Wait()
		b.cancel()
		if err := <-b.served; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v", err)
		}
		b.close()
		b.expect(t, "at the end", "policy-deny 5; batch 7/5; commit 7/5; > ack 5; disconnected: context canceled")
	})
}

func TestNeverAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := serve(t, &eventstream.Receiver{AckEvery: -1})
		b.send(hello(7, 1), deny(1), control(eventstream.Keepalive, 0))
		synctest.Wait()
		b.send(control(eventstream.FullResync, 1))
		synctest.Wait()
		if err := b.end(); err != nil {
			t.Error(err)
		}
		b.expect(t, "without a commit", "hello 7 from 1, last 0/0; policy-deny 1; batch 7/1; > keepalive 0; resync; batch 7/1; disconnected: <nil>")
	})
}

// TestSilence checks that a producer which sends nothing whole for too long is dead, and one with keepalives is not.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		silence time.Duration
		alive   time.Duration
	}{{0, 30 * time.Second}, {5 * time.Second, 5 * time.Second}, {time.Second, time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			b := serve(t, &eventstream.Receiver{Silence: c.silence})
			for range 5 {
				time.Sleep(c.alive - time.Millisecond)
				b.send(control(eventstream.Keepalive, 0))
			}
			start := time.Now()
			half := deny(1)
			for i := range 4 { // half a frame for ever is no sign of life
				time.Sleep(c.alive / 5)
				b.send(half[i : i+1])
			}
			if err := <-b.served; !errors.Is(err, eventstream.ErrSilent) {
				t.Errorf("Serve = %v", err)
			}
			if got := time.Since(start); got != c.alive {
				t.Errorf("dead after %v, want %v", got, c.alive)
			}
			b.leave()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := serve(t, &eventstream.Receiver{Silence: -1})
		time.Sleep(1000 * time.Hour)
		b.send(hello(7, 1), deny(1))
		synctest.Wait()
		if err := b.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestDeafProducer checks that a producer which reads nothing is dead too.
func TestDeafProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		served := make(chan error, 1)
		r := &eventstream.Receiver{}
		go func() { served <- r.Serve(t.Context(), here) }()
		if _, err := there.Write(piece(hello(7, 1), deny(1))); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err := <-served
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("Serve = %v", err)
		}
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("after %v", got)
		}
	})
}

// TestHandlerErrors checks for every function that an error ends the run, that nothing is called and nothing acknowledged
// after it, and that the record is handed out again.
func TestHandlerErrors(t *testing.T) {
	oops := errors.New("disk full")
	for _, c := range []struct{ name, line, want string }{
		{"Record", "policy-deny 2", "policy-deny 2"},
		{"Batch", "batch 7/2", "policy-deny 2; batch 7/2"},
		{"Commit", "commit 7/2", "policy-deny 2; batch 7/2; commit 7/2"},
		{"Resync", "resync", "policy-deny 2; batch 7/2; commit 7/2; > ack 2; resync"},
		{"Session", "table: session-open 0", "policy-deny 2; batch 7/2; commit 7/2; > ack 2; resync; table: session-open 0"},
		{"Synced", "synced", "policy-deny 2; batch 7/2; commit 7/2; > ack 2; resync; table: session-open 0; synced"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &eventstream.Receiver{}
				b := serve(t, r)
				b.send(hello(7, 1), deny(1))
				synctest.Wait()
				b.expect(t, "before", "hello 7 from 1, last 0/0; policy-deny 1; batch 7/1; commit 7/1; > ack 1")
				b.journal.mu.Lock()
				b.fail[c.line] = oops
				b.journal.mu.Unlock()
				_, _ = b.conn.Write(deny(2))
				synctest.Wait()
				_, _ = b.conn.Write(piece(control(eventstream.FullResync, 2), opened(0), control(eventstream.TableEnd, 0), deny(3)))
				err := <-b.served
				var failed *eventstream.HandlerError
				if !errors.As(err, &failed) || failed.Func != c.name || !errors.Is(err, oops) {
					t.Errorf("Serve = %v", err)
				}
				b.leave()
				b.expect(t, "after", c.want+"; disconnected: eventstream: "+c.name+": disk full")
				acked := r.Stats().Acked
				if acked > 2 {
					t.Errorf("acknowledged %d", acked)
				}
				b = serve(t, r)
				b.send(hello(7, 1), denies(1, 2))
				synctest.Wait()
				again := "hello 7 from 1, last 7/1; policy-deny 2; batch 7/2; commit 7/2; > ack 2"
				if acked == 2 {
					again = "hello 7 from 1, last 7/2; commit 7/2; > ack 2"
				}
				b.expect(t, "again", again)
				if err := b.end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &eventstream.Receiver{}
		r.Pause() // before there is a connection
		b := &bench{journal: new(journal), served: make(chan error, 1)}
		r.Handler = b.handler()
		for _, resumed := range []bool{false, true} {
			here, there := net.Pipe()
			b.producer = newProducer(t, there, b.journal)
			b.last = b.producer
			go func() { b.served <- r.Serve(t.Context(), here) }()
			synctest.Wait()
			if !r.Stats().Paused || !r.Stats().Connected {
				t.Errorf("%+v", r.Stats())
			}
			if resumed {
				r.Resume()
				synctest.Wait()
				r.Pause()
				r.Resume()
				synctest.Wait()
			}
			b.close()
			<-b.served
		}
		b.expect(t, "calls", "connected; > pause 0; disconnected: <nil>; connected; > pause 0; > resume 0; > pause 0; > resume 0; disconnected: <nil>")
		if r.Stats().Paused || r.Stats().Connected {
			t.Errorf("%+v", r.Stats())
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &eventstream.Receiver{}
		if _, err := r.Drain(t.Context(), 0); !errors.Is(err, eventstream.ErrNotConnected) {
			t.Errorf("without a connection: %v", err)
		}
		b := serve(t, r)
		b.send(hello(7, 1), denies(1, 3))
		synctest.Wait()
		b.take()
		type answer struct {
			seq event.Seq
			err error
		}
		ask := func(ctx context.Context, target event.Seq) chan answer {
			ch := make(chan answer, 1)
			go func() {
				seq, err := r.Drain(ctx, target)
				ch <- answer{seq, err}
			}()
			synctest.Wait()
			return ch
		}
		near, far := ask(t.Context(), 0), ask(t.Context(), 9)
		b.expect(t, "requests", "> drain 0; > drain 9")
		b.send(deny(4), control(eventstream.DrainComplete, 4))
		synctest.Wait()
		b.expect(t, "what it has sent is handled first", "policy-deny 4; batch 7/4; commit 7/4; > ack 4")
		if got := <-near; got.seq != 4 || got.err != nil {
			t.Errorf("the near target: %+v", got)
		}
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := <-ask(late, 20); !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("no answer: %+v", got)
		}
		b.send(control(eventstream.DrainComplete, 50)) // answers what still waits
		if got := <-far; got.seq != 50 || got.err != nil {
			t.Errorf("the far target: %+v", got)
		}
		last := ask(t.Context(), 60)
		if err := b.end(); err != nil {
			t.Error(err)
		}
		if got := <-last; !errors.Is(got.err, eventstream.ErrNotConnected) {
			t.Errorf("the connection ends: %+v", got)
		}
	})
}

// TestDisconnect ends a connection from the handler: what is in hand is acknowledged, what was read behind it is not handled.
func TestDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &eventstream.Receiver{}
		r.Disconnect() // nothing to disconnect
		b := serve(t, r, func(h *eventstream.Handler) {
			note := h.Record
			h.Record = func(ctx context.Context, rec *event.Record) error {
				if rec.Seq() == 2 {
					r.Disconnect()
				}
				return note(ctx, rec)
			}
		})
		b.send(hello(7, 1), denies(1, 4))
		if err := <-b.served; err != nil {
			t.Error(err)
		}
		b.leave()
		b.expect(t, "calls", "hello 7 from 1, last 0/0; policy-deny 1; policy-deny 2; batch 7/2; commit 7/2; > ack 2; disconnected: <nil>")
	})
}

// TestOneCallAtATime checks that a second call is refused, and closes what it was given.
func TestOneCallAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &eventstream.Receiver{}
		b := serve(t, r)
		here, there := net.Pipe()
		if err := r.Serve(t.Context(), here); err == nil || !strings.Contains(err.Error(), "running") {
			t.Errorf("Serve = %v", err)
		}
		if _, err := there.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is still open")
		}
		if err := r.Connect(t.Context(), nil); err == nil {
			t.Error("Connect beside Serve")
		}
		if err := b.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestNoHandler receives with every function nil.
func TestNoHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &eventstream.Receiver{}
		b := serve(t, r, func(h *eventstream.Handler) { *h = eventstream.Handler{Connected: h.Connected} })
		b.send(hello(7, 1), deny(3), control(eventstream.FullResync, 5), opened(0), opened(6))
		synctest.Wait()
		if err := b.end(); err != nil {
			t.Error(err)
		}
		if s := r.Stats(); s.Acked != 6 || s.Total() != 2 || s.Sessions != 1 || s.Gaps != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestAllocations checks that a record costs no allocation, however many there are.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	r := &eventstream.Receiver{Handler: eventstream.Handler{
		Record: func(context.Context, *event.Record) error { return nil },
		Batch:  func(context.Context, eventstream.Position) error { return nil },
		Commit: func(context.Context, eventstream.Position) error { return nil },
	}}
	const records = 100_000
	next := event.Seq(1)
	conn := newMemory(next, 0)
	perRun := testing.AllocsPerRun(5, func() {
		conn.next, conn.last = next, next+records-1
		next += records
		if err := r.Serve(t.Context(), conn); err != nil {
			t.Error(err)
		}
	})
	if perRun > 20 { // a connection
		t.Errorf("%v allocations for a connection with %d records", perRun, records)
	}
	if got := r.Stats().Total(); got != uint64(next-1) {
		t.Errorf("%d records of %d", got, next-1)
	}
}
