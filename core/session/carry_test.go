package session

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// fakeCarrier carries packets as the XDP program does.
type fakeCarrier struct {
	t     *testing.T
	flows map[uint32]*fakeFlow
	by    map[packet.Tuple]*fakeFlow
	next  uint32
	total uint64 // packets that it carried
}

type fakeFlow struct {
	tuple  packet.Tuple
	active bool
	Carried
}

func (c *fakeCarrier) flow(number uint32) *fakeFlow {
	f := c.flows[number]
	if f == nil {
		c.t.Fatalf("flow %d is used after it was forgotten", number)
	}
	return f
}

func (c *fakeCarrier) Take(number uint32) Carried {
	f := c.flow(number)
	taken := f.Carried
	f.Packets, f.Bytes = 0, 0
	return taken
}

func (c *fakeCarrier) Follow(number, end, acknowledged uint32) {
	f := c.flow(number)
	f.End, f.Acknowledged = end, acknowledged
}

func (c *fakeCarrier) Hold(number uint32) { c.flow(number).active = false }

func (c *fakeCarrier) Forget(number uint32) {
	if f := c.flow(number); f.active || f.Packets != 0 {
		c.t.Errorf("flow %d is forgotten, and holds %+v", number, *f)
	}
	c.remove(number)
}

func (c *fakeCarrier) add(number uint32, tuple packet.Tuple) {
	f := &fakeFlow{tuple: tuple}
	c.flows[number], c.by[tuple] = f, f
}

func (c *fakeCarrier) remove(number uint32) {
	if f := c.flows[number]; c.by[f.tuple] == f {
		delete(c.by, f.tuple)
	}
	delete(c.flows, number)
}

// carries carries a packet if it has a flow for it.
func (c *fakeCarrier) carries(h *packet.Headers, now int64) bool {
	f := c.by[h.Tuple]
	switch {
	case f == nil:
		return false
	case h.Proto == tcp && h.TCPFlags&(syn|fin|rst) != 0:
		f.active = false
		return false
	case !f.active || h.Fragment, h.Proto == tcp && h.TCPSeq-f.End+slack > 2*slack:
		return false
	}
	f.Packets++
	f.Bytes += uint64(h.IPLen)
	f.Seen = now
	if h.Proto == tcp {
		if int32(h.TCPNext-f.End) > 0 {
			f.End = h.TCPNext
		}
		f.Acknowledged = h.TCPAck
	}
	c.total++
	return true
}

// carryingRig is a rig whose sessions are carried as far as possible.
type carryingRig struct {
	*rig
	carrier *fakeCarrier
}

func newCarryingRig(t *testing.T, sessions int) *carryingRig {
	c := &fakeCarrier{t: t, flows: make(map[uint32]*fakeFlow), by: make(map[packet.Tuple]*fakeFlow)}
	r := &rig{t: t, unkeyed: unkeyed{New(Config{Max: sessions, Seed: 1, Timeouts: DefaultTimeouts()})}}
	r.AddCarrier(c)
	return &carryingRig{r, c}
}

// packet is rig.packet for a packet that is carried if possible.
func (r *carryingRig) packet(at time.Duration, h *packet.Headers, p Params) (old Replaced, ok bool) {
	now := base + int64(at)
	if r.carrier.carries(h, now) {
		return old, true
	}
	r.hit = Hit{}
	old, ok = r.rig.packet(at, h, p)
	if !r.hit.Carry {
		return old, ok
	}
	if f := r.hit.Flow; f != 0 {
		if got := r.carrier.Take(f.Number()); got.Packets != 0 {
			r.t.Error("a flow is resumed, and not everything was taken")
		}
		r.carrier.flow(f.Number()).active = true
		return old, ok
	}
	r.carrier.next++
	number := r.carrier.next
	r.carrier.add(number, h.Tuple)
	if r.Carry(r.key(&h.Tuple, 1), h, now, FlowOf(0, number)) {
		r.carrier.flows[number].active = true
	} else {
		r.carrier.remove(number)
	}
	return old, ok
}

// TestCarriedSessionsAreTheSame has random sessions carried, and compares what the table tells of them with one that sees every packet.
func TestCarriedSessionsAreTheSame(t *testing.T) {
	seeds := uint64(8)
	if race.Enabled {
		seeds = 1 // one goroutine: there is nothing to find for the detector
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			all, some := newRig(t, 1<<12), newCarryingRig(t, 1<<12)
			type connection struct {
				proto uint8
				port  uint16
				next  [2]uint32
			}
			var conns [12]connection
			begin := func(c *connection, i int) {
				*c = connection{proto: tcp, port: uint16(1000*i + random.IntN(3)), next: [2]uint32{random.Uint32(), random.Uint32()}}
				if random.IntN(3) == 0 {
					c.proto = packet.ProtoUDP
				}
			}
			var closed [2][]Session
			send := func(at time.Duration, h *packet.Headers) {
				first, _ := all.packet(at, h, Params{LogClose: true})
				second, _ := some.packet(at, h, Params{LogClose: true})
				for i, old := range []Replaced{first, second} {
					if old.Valid {
						closed[i] = append(closed[i], old.Session)
					}
				}
			}
			// segment makes the next packet of an end.
			segment := func(c *connection, from int, flags uint8, data int) *packet.Headers {
				h := headers(c.proto, clientAddr, serverAddr, c.port, 80)
				if from == server {
					h = headers(c.proto, serverAddr, clientAddr, 80, c.port)
				}
				h.IPLen = uint32(40 + data)
				if c.proto == tcp {
					h.TCPFlags, h.TCPSeq, h.TCPAck = flags, c.next[from], c.next[from^1]
					h.TCPNext = h.TCPSeq + uint32(data)
					if flags&(syn|fin) != 0 {
						h.TCPNext++
					}
					c.next[from] = h.TCPNext
				}
				return h
			}
			open := func(at time.Duration, c *connection, i int) {
				begin(c, i)
				send(at, segment(c, client, syn, 0))
				send(at, segment(c, server, syn|ack, 0))
				send(at, segment(c, client, ack, 0))
			}
			at := time.Duration(0)
			for i := range conns {
				open(at, &conns[i], i)
			}
			for range 10_000 {
				at += time.Duration(random.ExpFloat64() * float64(20*time.Millisecond))
				i := random.IntN(len(conns))
				c, from := &conns[i], random.IntN(2)
				switch n := random.IntN(2000); {
				case n == 0:
					at += time.Duration(random.IntN(90)) * time.Second // datagrams time out
				case n < 4:
					send(at, segment(c, from, fin|ack, 0))
					send(at, segment(c, from^1, fin|ack, 0))
					send(at, segment(c, from, ack, 0))
					if random.IntN(2) == 0 {
						at += 10 * time.Second
						open(at, c, i)
					}
				case n < 6:
					h := segment(c, from, rst, 0)
					if random.IntN(2) == 0 {
						h.TCPSeq += 1 << 30 // forged
					}
					send(at, h)
				case n < 8:
					open(at, c, i) // without an end
				case n < 12:
					h := icmpError(packet.ICMPUnreachable, 1, segment(c, from, ack, 0))
					h.InnerSeq = c.next[from]
					send(at, h)
				case n < 20:
					h := segment(c, from, ack, 100)
					h.Fragment = true
					send(at, h)
				case n < 24:
					c.next[from] += 1 << 22 // lost before it was seen
				default:
					send(at, segment(c, from, ack|byte(random.IntN(2))<<3, random.IntN(60_000)))
				}
				if n := random.IntN(50); n == 0 {
					closed[0] = append(closed[0], all.expire(at)...)
					closed[1] = append(closed[1], some.expire(at)...)
				}
			}
			if some.carrier.total < 3000 {
				t.Errorf("only %d packets were carried", some.carrier.total)
			}
			now := base + int64(at)
			closed[0] = all.End(0, now, closed[0])
			closed[1] = some.End(0, now, closed[1])
			for i := range closed {
				slices.SortFunc(closed[i], func(a, b Session) int { return cmp.Compare(a.ID, b.ID) })
			}
			if diff := gocmp.Diff(closed[0], closed[1]); diff != "" {
				t.Errorf("what is told of sessions of which all packets were seen (-), and some (+):\n%s", diff)
			}
			if len(some.carrier.flows) != 0 {
				t.Errorf("%d flows are left when all sessions have ended", len(some.carrier.flows))
			}
			if st := some.Stats(); st.Closed != st.Created {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// TestCarriedUntilItIsSilent has a carried session live for as long as packets are carried, and end when they are not.
func TestCarriedUntilItIsSilent(t *testing.T) {
	r := newCarryingRig(t, 1<<10)
	at := time.Duration(0)
	for range 3000 { // ten minutes, and the timeout is one
		at += 200 * time.Millisecond
		r.packet(at, fromClient(udp, 0), Params{LogClose: true})
		r.packet(at, fromServer(udp, 0), Params{LogClose: true})
		if closed := r.expire(at); len(closed) != 0 {
			t.Fatalf("closed at %v: %+v", at, closed)
		}
	}
	if r.carrier.total < 5900 {
		t.Fatalf("only %d packets were carried", r.carrier.total)
	}
	for s := range r.All(base + int64(at)) {
		if s.ClientPackets != 3000 || s.ServerPackets != 3000 {
			t.Errorf("listed with %d and %d packets", s.ClientPackets, s.ServerPackets)
		}
	}
	s := r.closesAt(at+time.Minute, event.CloseTimeout)
	if s.ClientPackets != 3000 || s.ServerPackets != 3000 || s.ServerBytes != 300_000 {
		t.Errorf("%+v", s)
	}
}

// datagrams sends so many of each end, ten a second of each, and returns when the last ones were.
func (r *carryingRig) datagrams(n int) (at time.Duration) {
	for range n {
		at += 100 * time.Millisecond
		r.packet(at, fromClient(udp, 0), Params{LogClose: true})
		r.packet(at, fromServer(udp, 0), Params{LogClose: true})
	}
	return at
}

// TestTakeOverCarried gives another table sessions that are carried: it has all of their packets, and carries none.
func TestTakeOverCarried(t *testing.T) {
	r := newCarryingRig(t, 1<<10)
	at := r.datagrams(100)
	if r.carrier.total < 150 {
		t.Fatalf("only %d packets were carried", r.carrier.total)
	}
	next := newRig(t, 1<<10)
	takeOver(t, r.Table, next.Table, Takeover{IDs: sameIds{}, Now: base + int64(at)})
	for _, f := range r.carrier.flows {
		if f.active {
			t.Error("still carried")
		}
	}
	next.packet(at, fromClient(udp, 0), Params{})
	if next.hit.Flow != 0 {
		t.Error("carried in another table")
	}
	closed := next.expire(at + time.Minute + oneSlot)
	if len(closed) != 1 || closed[0].ClientPackets != 101 || closed[0].ServerPackets != 100 || closed[0].Reason != event.CloseTimeout {
		t.Errorf("%+v", closed)
	}
}

// TestTakeWhileAPacketIsCarried takes what was carried when the carrier has counted a packet and not noted yet what it acknowledges: a reset
// of the other end, whose numbers are in the upper half, is believed.
func TestTakeWhileAPacketIsCarried(t *testing.T) {
	r := newCarryingRig(t, 1<<10)
	seq := [2]uint32{0x10000000, 0xa0000000}
	at := time.Duration(0)
	send := func(from int, flags uint8, data uint32) {
		at += time.Millisecond
		h := fromClient(tcp, flags)
		if from == server {
			h = fromServer(tcp, flags)
		}
		next := seq[from] + data
		if flags&syn != 0 {
			next++
		}
		r.packet(at, numbered(h, seq[from], next, seq[from^1]), Params{LogClose: true})
		seq[from] = next
	}
	send(client, syn, 0)
	send(server, syn|ack, 0)
	at += Late
	for range 2 * carryFirst {
		send(client, ack, 10)
		if len(r.carrier.flows) > 0 {
			break
		}
		send(server, ack, 10)
	}
	if len(r.carrier.flows) != 1 || r.carrier.total != 0 {
		t.Fatalf("%d flows, and %d packets were carried", len(r.carrier.flows), r.carrier.total)
	}
	for _, f := range r.carrier.flows {
		f.Packets, f.Bytes, f.Seen = 1, 50, base+int64(at) // as the program does it: first the counts
	}
	send(server, rst|ack, 0)
	var s Session
	if !r.Get(fromClient(tcp, 0), 1, base+int64(at), &s) || s.Reason != event.CloseServerRST {
		t.Errorf("behind a reset of the server: %+v", s)
	}
}

// TestAdoptCarried counts a first packet into a session whose packets are carried, and that has the roles the other way round: the carrying
// ends, and everything that was carried is in the session.
func TestAdoptCarried(t *testing.T) {
	r := newCarryingRig(t, 1<<10)
	at := r.datagrams(20)
	if r.carrier.total < 10 || len(r.carrier.flows) != 2 {
		t.Fatalf("%d packets were carried, of %d flows", r.carrier.total, len(r.carrier.flows))
	}
	h := fromServer(udp, 0)
	k := r.key(&h.Tuple, 1)
	s := r.lockOf(k)
	r.adopt(s, s.find(k), k, h, base, &Params{LogClose: true})
	s.mu.Unlock()
	if len(r.carrier.flows) != 0 {
		t.Errorf("%d flows are left", len(r.carrier.flows))
	}
	closed := r.End(0, base+int64(at), nil)
	if len(closed) != 1 || closed[0].ClientPackets != 21 || closed[0].ServerPackets != 20 {
		t.Errorf("%+v", closed)
	}
}

// TestCarriersAreBounded adds more carriers than a flow can name: those beyond get no place, which would be that of another. The place of one
// that is taken away is given again.
func TestCarriersAreBounded(t *testing.T) {
	table := New(Config{Max: 64, Seed: 1, Timeouts: DefaultTimeouts()})
	for i := range MaxCarriers + 2 {
		place, ok := table.AddCarrier(&fakeCarrier{t: t})
		if ok != (i < MaxCarriers) || ok && place != i {
			t.Fatalf("carrier %d has place %d, %v", i, place, ok)
		}
	}
	table.DropCarrier(7)
	if place, ok := table.AddCarrier(&fakeCarrier{t: t}); place != 7 || !ok {
		t.Errorf("the next carrier has place %d, %v, want 7", place, ok)
	}
}

// TestDropCarrier takes a carrier away that carries both ends of some sessions, while another one is there: what it has carried is counted, its
// flows are forgotten, and the sessions go on without it.
func TestDropCarrier(t *testing.T) {
	r := newCarryingRig(t, 1<<14)
	other := &fakeCarrier{t: t, flows: make(map[uint32]*fakeFlow), by: make(map[packet.Tuple]*fakeFlow)}
	if place, ok := r.AddCarrier(other); place != 1 || !ok {
		t.Fatalf("the other carrier has place %d, %v", place, ok)
	}
	const sessions, packets = 3 * listChunk, 40
	at := time.Duration(0)
	for i := range uint16(sessions) {
		for n := range packets {
			at += time.Second / 50
			h := headers(udp, clientAddr, serverAddr, 1000+i, 53)
			if n%2 == 1 {
				h = headers(udp, serverAddr, clientAddr, 53, 1000+i)
			}
			r.packet(at, h, Params{Timeout: Never})
		}
	}
	if len(r.carrier.flows) != 2*sessions || r.carrier.total == 0 {
		t.Fatalf("%d flows, %d packets carried", len(r.carrier.flows), r.carrier.total)
	}
	r.DropCarrier(0)
	if len(r.carrier.flows) != 0 {
		t.Errorf("%d flows are left", len(r.carrier.flows))
	}
	n := 0
	for s := range r.All(base + int64(at)) {
		if n++; s.ClientPackets+s.ServerPackets != packets {
			t.Fatalf("session %d has %d and %d packets, want %d in all", s.ID, s.ClientPackets, s.ServerPackets, packets)
		}
	}
	if n != sessions {
		t.Errorf("%d sessions, want %d", n, sessions)
	}
	var hit Hit
	h := headers(udp, clientAddr, serverAddr, 1000, 53)
	if !r.Lookup(h, 1, base+int64(at), &hit) || hit.Flow != 0 {
		t.Errorf("a packet of a session afterwards: %+v", hit)
	}
}
