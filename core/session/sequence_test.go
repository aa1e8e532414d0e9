package session

import (
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestLostStretch loses a stretch of both directions of a connection, lets it go on for a while and end with FINs: the
// session is closed by them however much was lost.
func TestLostStretch(t *testing.T) {
	for _, lost := range []uint32{0, slack / 2, slack + 5000, 2 * slack, 1 << 30, 1 << 31, 3 << 30} {
		for _, first := range []int{client, server} { // who is seen first after it
			r := newRig(t, 64)
			for _, s := range opened() {
				r.packet(s.at, s.h, Params{})
			}
			next := [2]uint32{1101 + lost, 5501 + lost}
			send := func(who int, flags uint8, n uint32) {
				h := fromClient(tcp, flags)
				if who == server {
					h = fromServer(tcp, flags)
				}
				r.packet(sec, numbered(h, next[who], next[who]+n, next[client+server-who]), Params{})
				next[who] += n
			}
			for range 3 {
				send(first, ack, 1000)
				send(client+server-first, ack, 1000)
			}
			send(first, fin|ack, 1)
			send(client+server-first, fin|ack, 1)
			send(first, ack, 0)
			r.closesAt(3*sec, event.CloseFIN)
		}
	}
}

// TestFragmentHasNoNumbers sends fragments of a segment whose TCP header is not among what was read: they are of the connection, and change
// nothing of its numbers.
func TestFragmentHasNoNumbers(t *testing.T) {
	for _, from := range []func(proto, flags uint8) *packet.Headers{fromClient, fromServer} {
		r := newRig(t, 64)
		for _, s := range opened() {
			r.packet(s.at, s.h, Params{})
		}
		h := from(tcp, 0)
		h.HasL4, h.Fragment, h.FragOff = false, true, 1480
		k := r.key(&h.Tuple, 1)
		s := r.shard(k.hash)
		e := &s.entries[s.find(k)]
		for who := range e.end { // far from 0, which is what the fields for numbers say
			e.end[who] += 1 << 30
			e.acked[who] += 1 << 30
		}
		before := *e
		r.packet(sec, h, Params{})
		if e.packets == before.packets {
			t.Fatal("the fragment is not counted")
		}
		if e.end != before.end || e.acked != before.acked || e.lost != before.lost || e.state != before.state {
			t.Errorf("%+v, before the fragment %+v", *e, before)
		}
	}
}

// TestForgedSegments sends segments of one end whose numbers do not fit, and behind them a RST or FIN with the same
// numbers: the session goes on, and ends as it would without them.
func TestForgedSegments(t *testing.T) {
	for _, seq := range []uint32{1101 + 2*slack, 800_000_000, 1 << 31, 3 << 30, 1<<32 - 2*slack} {
		for _, flags := range []uint8{rst, rst | ack, fin, fin | ack} {
			for _, forge := range []func(proto, flags uint8) *packet.Headers{fromClient, fromServer} {
				r := newRig(t, 64)
				for _, s := range opened() {
					r.packet(s.at, s.h, Params{})
				}
				forged := func(flags uint8) {
					r.packet(sec, numbered(forge(tcp, flags), seq, seq+100, seq+1<<30), Params{})
				}
				forged(ack)
				forged(ack)
				forged(flags)
				if closed := r.expire(4*sec + oneSlot); len(closed) != 0 {
					t.Fatalf("flags %#x, numbers %d: closed for %d", flags, seq, closed[0].Reason)
				}
				r.packet(5*sec, numbered(fromServer(tcp, ack), 5501, 5601, 1101), Params{})
				forged(ack)
				r.packet(5*sec, numbered(fromClient(tcp, fin|ack), 1101, 1102, 5601), Params{})
				r.packet(5*sec, numbered(fromServer(tcp, fin|ack), 5601, 5602, 1102), Params{})
				r.packet(5*sec, numbered(fromClient(tcp, ack), 1102, 1102, 5602), Params{})
				r.closesAt(7*sec, event.CloseFIN)
			}
		}
	}
	r := newRig(t, 64)
	for _, s := range opened() {
		r.packet(s.at, s.h, Params{})
	}
	r.packet(sec, numbered(fromClient(tcp, ack), 800_000_000, 800_000_100, 1<<31), Params{})
	for _, off := range []uint32{1 << 21, 1 << 30, 1<<32 - 1<<21} { // of both ends, and they do not fit each other
		r.packet(sec, numbered(fromServer(tcp, ack), 1<<30, 1<<30+100, 800_000_100+off), Params{})
		r.packet(sec, numbered(fromServer(tcp, rst), 1<<30, 1<<30, 0), Params{})
		r.packet(sec, numbered(fromClient(tcp, ack), 800_000_000, 800_000_100, 1<<31), Params{})
	}
	r.packet(2*sec, numbered(fromClient(tcp, rst), 1101, 1101, 0), Params{})
	r.closesAt(4*sec, event.CloseClientRST)
}
