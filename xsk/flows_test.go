package xsk

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// Actions of XDP programs.
const (
	actionDrop     = 1
	actionPass     = 2
	actionRedirect = 4
)

// flowTable makes a table for a test.
func flowTable(t testing.TB, flows int, bridge bool) *Flows {
	t.Helper()
	nettest.Require(t)
	f, err := NewFlows(flows, bridge)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// carrier is a program with a flow table. What comes up goes to a socket in a bridge, and is passed in a tap.
type carrier struct {
	*program
	flows  *Flows
	bridge bool
}

// newCarrier loads a program. What a bridge forwards would go to lo.
func newCarrier(t testing.TB, f *Flows, bridge bool) *carrier {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	p, err := loadProgram(lo.Index, 1, Config{Flows: f, Bridge: bridge}, bridge, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	if bridge {
		fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		if err := errors.Join(p.register(&Socket{fd: fd}), p.setPeer(lo.Index), p.carry(1518)); err != nil {
			t.Fatal(err)
		}
	}
	return &carrier{p, f, bridge}
}

// carries runs the program on a frame, and reports whether it was carried. It checks that the frame went where it should.
func (c *carrier) carries(t testing.TB, frame []byte) bool {
	t.Helper()
	before := c.counted()
	action, err := c.objects.Tap.Run(&ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+512)})
	if err != nil {
		t.Fatal(err)
	}
	carried, want := c.counted() != before, uint32(actionPass)
	switch {
	case c.bridge:
		want = actionRedirect
	case carried:
		want = actionDrop
	}
	if action != want {
		t.Fatalf("action %d, want %d", action, want)
	}
	return carried
}

// counted adds up what is counted of all flows.
func (c *carrier) counted() (sum uint64) {
	for i := range c.flows.records {
		if word := atomic.LoadUint64(&c.flows.records[i].Word); word&flowPending == 0 {
			sum += word & flowCounts
		}
	}
	return sum
}

// segment is a frame to be made. The zero segment is a UDP datagram over IPv4.
type segment struct {
	tags       []uint16 // VLAN ids
	ipv6, tcp  bool
	sport      uint16
	seq, ack   uint32
	flags      byte // 0: ACK
	data, trim int  // bytes of payload, and of what is missing at the end
}

func (s segment) frame() []byte {
	b := make([]byte, 12, 128+s.data)
	b[0], b[6] = 2, 2
	for _, id := range s.tags {
		b = append(b, 0x81, 0, byte(id>>8)|0x60, byte(id)) // with a priority
	}
	transport := []byte{byte(s.sport >> 8), byte(s.sport), 0, 80}
	protocol := byte(packet.ProtoUDP)
	if s.tcp {
		protocol = packet.ProtoTCP
		transport = binary.BigEndian.AppendUint32(transport, s.seq)
		transport = binary.BigEndian.AppendUint32(transport, s.ack)
		if s.flags == 0 {
			s.flags = packet.ACK
		}
		transport = append(transport, 5<<4, s.flags, 1, 0, 0, 0, 0, 0)
	} else {
		transport = append(transport, byte((8+s.data)>>8), byte(8+s.data), 0, 0)
	}
	n := len(transport) + s.data
	if s.ipv6 {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, byte(n>>8), byte(n), protocol, 64)
		b = append(b, net.ParseIP("2001:db8::1")...)
		b = append(b, net.ParseIP("2001:db8::2")...)
	} else {
		n += 20
		b = append(b, 0x08, 0, 0x45, 0, byte(n>>8), byte(n), 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2)
	}
	b = append(b, transport...)
	b = append(b, make([]byte, s.data)...)
	return b[:len(b)-s.trim]
}

// keyOf returns the key of the flow of a frame, as a worker would ask for it.
func keyOf(t testing.TB, frame []byte) FlowKey {
	t.Helper()
	var h packet.Headers
	if cause := packet.Decode(frame, len(frame), &h); cause != packet.OK {
		t.Fatalf("not decoded: %v", cause)
	}
	return headerKey(&h)
}

func headerKey(h *packet.Headers) FlowKey {
	return NewFlowKey((*[16]byte)(&h.Src), (*[16]byte)(&h.Dst), h.Family == packet.IPv4, h.SrcPort, h.DstPort, h.Proto,
		[2]uint16{h.VLAN, h.InnerVLAN})
}

var segments = map[string]segment{
	"UDP over IPv4":            {sport: 1000, data: 20},
	"UDP over IPv6":            {sport: 1000, data: 20, ipv6: true},
	"TCP over IPv4":            {sport: 1000, tcp: true, seq: 5000, ack: 77, data: 100},
	"TCP over IPv6":            {sport: 1000, tcp: true, seq: 5000, ack: 77, data: 100, ipv6: true},
	"TCP in a VLAN":            {sport: 1000, tcp: true, seq: 5000, data: 100, tags: []uint16{10}},
	"UDP over IPv6 in 2 VLANs": {sport: 1000, data: 100, tags: []uint16{10, 20}, ipv6: true},
	"an empty segment":         {sport: 1000, tcp: true, seq: 5000},
}

// TestFlowIsCarried has the program carry flows: what it counts, and that it neither does before it is told to, nor after.
func TestFlowIsCarried(t *testing.T) {
	for _, bridge := range []bool{false, true} {
		for name, s := range segments {
			mode := "tap"
			if bridge {
				mode = "bridge"
			}
			t.Run(mode+"/"+name, func(t *testing.T) {
				f := flowTable(t, 4, false)
				p := newCarrier(t, f, bridge)
				frame := s.frame()
				if p.carries(t, frame) {
					t.Fatal("carried before anything was added")
				}
				key := keyOf(t, frame)
				flow := f.Add(&key)
				f.Follow(flow, s.seq, 0)
				if p.carries(t, frame) {
					t.Fatal("a flow that is held is carried")
				}
				f.Resume(flow)
				for range 3 {
					if !p.carries(t, frame) {
						t.Fatal("not carried")
					}
				}
				bytes := uint64(len(frame) - 14 - 4*len(s.tags))
				c := f.Take(flow)
				if c.Packets != 3 || c.Bytes != 3*bytes || c.Seen == 0 {
					t.Errorf("carried %+v, want 3 packets of %d bytes", c, bytes)
				}
				if s.tcp && (c.End != s.seq+uint32(s.data) || c.Acknowledged != s.ack) {
					t.Errorf("followed to %d and %d, want %d and %d", c.End, c.Acknowledged, s.seq+uint32(s.data), s.ack)
				}
				if c := f.Take(flow); c.Packets != 0 || c.Bytes != 0 {
					t.Errorf("taken twice: %+v", c)
				}
				p.carries(t, frame)
				f.Hold(flow)
				if p.carries(t, frame) {
					t.Error("carried while it is held")
				}
				if c := f.Take(flow); c.Packets != 1 {
					t.Errorf("%d packets before the flow was held, want 1", c.Packets)
				}
				counters, err := p.counters()
				if err != nil || counters.Carried != 4 || counters.CarriedBytes != 4*uint64(len(frame)) || counters.PassNoSocket+counters.Redirected != 3 {
					t.Errorf("counters %+v (%v), want 4 carried and 3 that came up", counters, err)
				}
			})
		}
	}
}

// TestFlowEnds has segments come up that begin or end a connection: then the flow is held.
func TestFlowEnds(t *testing.T) {
	f := flowTable(t, 4, false)
	p := newCarrier(t, f, false)
	s := segments["TCP over IPv4"]
	key := keyOf(t, s.frame())
	flow := f.Add(&key)
	f.Follow(flow, s.seq, 0)
	for _, flags := range []byte{packet.FIN | packet.ACK, packet.RST, packet.RST | packet.ACK, packet.SYN, packet.SYN | packet.ACK, packet.FIN} {
		f.Resume(flow)
		if !p.carries(t, s.frame()) {
			t.Fatal("not carried")
		}
		ending := s
		ending.flags = flags
		if p.carries(t, ending.frame()) {
			t.Errorf("flags %#x do not come up", flags)
		}
		if p.carries(t, s.frame()) {
			t.Errorf("what follows flags %#x does not come up", flags)
		}
		if c := f.Take(flow); c.Packets != 1 {
			t.Errorf("%d packets were carried before flags %#x, want 1", c.Packets, flags)
		}
	}
}

// TestFlowEndsWhilePending ends a flow of a bridge before it is carried, again and again: nothing was carried of it.
func TestFlowEndsWhilePending(t *testing.T) {
	f := flowTable(t, 4, true)
	p := newCarrier(t, f, true)
	s := segments["TCP over IPv4"]
	ending := s
	ending.flags = packet.FIN | packet.ACK
	key := keyOf(t, s.frame())
	flow := f.Add(&key)
	f.Follow(flow, s.seq, 0)
	for round := range 40 {
		f.Resume(flow)
		if p.carries(t, s.frame()) || p.carries(t, ending.frame()) {
			t.Fatal("carried while it is pending")
		}
		if word := atomic.LoadUint64(&f.records[flow].Word); word != 0 {
			t.Errorf("round %d: %#x is left of the pending", round, word)
		}
		if c := f.Take(flow); c.Packets != 0 || c.Bytes != 0 {
			t.Fatalf("round %d: taken %+v, and nothing was carried", round, c)
		}
	}
}

// TestFlowsOfNeighbours adds the flows between all hosts of two networks over equal ports, as those of NTP are. They find room as flows of
// hosts anywhere do.
func TestFlowsOfNeighbours(t *testing.T) {
	for name, first := range map[string][16]byte{"IPv4": {10, 1, 2}, "IPv6": {0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2}} {
		ipv4, last := name == "IPv4", 15
		if ipv4 {
			last = 3
		}
		f := flowTable(t, 1<<17, true)
		for a := range 256 {
			for b := range 256 {
				source, destination := first, first
				source[last], destination[last] = byte(a), byte(b)
				destination[last-2]++ // another network
				key := NewFlowKey(&source, &destination, ipv4, 123, 123, packet.ProtoUDP, [2]uint16{})
				f.Add(&key)
			}
		}
		if got := f.Stats(); got.Flows != 1<<16 || got.Full != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestStampOfAnother gives a flow the stamp that another has left in a buffer. It says nothing about the packets of that flow.
func TestStampOfAnother(t *testing.T) {
	f := flowTable(t, 4, true)
	p := newCarrier(t, f, true)
	var flows [2]uint32
	for i, name := range []string{"UDP over IPv4", "TCP over IPv4"} {
		key := keyOf(t, segments[name].frame())
		flows[i] = f.Add(&key)
		f.Follow(flows[i], segments[name].seq, 0)
		f.Resume(flows[i])
		if p.carries(t, segments[name].frame()) {
			t.Fatalf("%s: carried while it is pending", name)
		}
	}
	left := atomic.LoadUint64(&f.records[flows[0]].Word)
	f.Settle(flows[1], left)
	if p.carries(t, segments["TCP over IPv4"].frame()) {
		t.Errorf("%#x, which is of another flow, begins the carrying", left)
	}
}

// TestFlowCountersNeverWrap fills the counts of a flow: packets come up until they are taken out.
func TestFlowCountersNeverWrap(t *testing.T) {
	f := flowTable(t, 1, false)
	p := newCarrier(t, f, false)
	frame := segments["UDP over IPv4"].frame()
	key := keyOf(t, frame)
	flow := f.Add(&key)
	size := uint64(len(frame) - 14)
	for name, before := range map[string]uint64{
		"packets": (1<<25-1)<<flowBytesBits | 1000,
		"bytes":   1000<<flowBytesBits | (1<<35 - 1),
	} {
		f.Resume(flow)
		atomic.StoreUint64(&f.records[flow].Word, flowActive|before)
		if !p.carries(t, frame) {
			t.Errorf("%s: not carried although there is room", name)
		}
		for range 3 {
			if p.carries(t, frame) {
				t.Errorf("%s: carried although the count is half full", name)
			}
		}
		if c := f.Take(flow); c.Packets != before>>flowBytesBits+1 || c.Bytes != before&flowBytes+size {
			t.Errorf("%s: taken %+v", name, c)
		}
		if !p.carries(t, frame) {
			t.Errorf("%s: not carried any more", name)
		}
		f.Hold(flow)
		f.Take(flow)
	}
}

// TestFlowsFull adds more flows than there is room for, and again when others were forgotten.
func TestFlowsFull(t *testing.T) {
	const room = 100
	f := flowTable(t, room, false)
	key := func(i int) FlowKey { return keyOf(t, segment{sport: uint16(1 + i)}.frame()) }
	var flows []uint32
	for i := range room {
		k := key(i)
		if flow := f.Add(&k); flow == 0 {
			t.Fatalf("no room for flow %d", i)
		} else if slices.Contains(flows, flow) {
			t.Fatalf("number %d twice", flow)
		} else {
			flows = append(flows, flow)
		}
	}
	k := key(room)
	if f.Add(&k) != 0 {
		t.Fatal("room for more than there is")
	}
	for _, flow := range flows[:60] {
		f.Forget(flow)
	}
	await.Until(t, "room again", func() bool { return f.Stats().Flows == 40 })
	for i := range 60 {
		k := key(i)
		if f.Add(&k) == 0 {
			t.Fatal("no room after others were forgotten")
		}
	}
	if s := f.Stats(); s.Flows != room || s.Room != room || s.Added != room+60 || s.Full != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestFlowsInOnePlace has flows whose records should all be in the same place: each is found as long as there is room near it, also
// when others between were forgotten.
func TestFlowsInOnePlace(t *testing.T) {
	f := flowTable(t, 2*probes, false)
	f.hashKeys = [6]uint64{} // the place is 0, which is taken
	p := newCarrier(t, f, false)
	add := func(i int) uint32 {
		key := keyOf(t, segment{sport: uint16(1 + i)}.frame())
		flow := f.Add(&key)
		if flow != 0 {
			f.Resume(flow)
		}
		return flow
	}
	var flows []uint32
	for i := range probes - 1 {
		if flows = append(flows, add(i)); flows[i] == 0 {
			t.Fatalf("no room for flow %d", i)
		}
	}
	if add(probes) != 0 || f.Stats().Full != 1 {
		t.Errorf("room for more than are looked for: %+v", f.Stats())
	}
	carried := func(want func(i int) bool) {
		t.Helper()
		for i := range probes - 1 {
			if got := p.carries(t, segment{sport: uint16(1 + i)}.frame()); got != want(i) {
				t.Errorf("flow %d: carried %v", i, got)
			}
		}
	}
	carried(func(int) bool { return true })
	left := probes - 1
	forget := func(from, to, step int) {
		for i := from; i < to; i += step {
			f.Forget(flows[i])
			left--
		}
		await.Until(t, "given back", func() bool { return f.Stats().Flows == left })
	}
	forget(0, probes-2, 2)
	carried(func(i int) bool { return i%2 == 1 || i == probes-2 })
	forget(1, probes-2, 2)
	carried(func(i int) bool { return i == probes-2 })
	forget(probes-2, probes-1, 1)
	for slot := range f.records[1:] {
		if f.records[1+slot].Key.What != 0 {
			t.Errorf("the search goes on at record %d, with nothing behind it", 1+slot)
		}
	}
}

// TestFlowsChurn adds and forgets flows of a table that is half full, at random: there is always room, and each is found. In one that is
// full, the places near that of a flow may be taken.
func TestFlowsChurn(t *testing.T) {
	const room = 1 << 10
	f := flowTable(t, 2*room, false)
	p := newCarrier(t, f, false)
	frame := func(i int) []byte { return segment{sport: uint16(i)}.frame() }
	flows := make(map[int]uint32)
	next := 0
	for round := range 40 {
		for len(flows) < room {
			key := keyOf(t, frame(next))
			flow := f.Add(&key)
			if flow == 0 {
				t.Fatalf("round %d: no room for flow %d: %+v", round, next, f.Stats())
			}
			f.Resume(flow)
			flows[next] = flow
			next++
		}
		n := 0
		for i, flow := range flows { // some of them
			if n++; n > room/4 {
				break
			}
			if !p.carries(t, frame(i)) {
				t.Fatalf("round %d: flow %d is not carried", round, i)
			}
			f.Forget(flow)
			delete(flows, i)
			if p.carries(t, frame(i)) {
				t.Fatalf("round %d: flow %d is carried, and was forgotten", round, i)
			}
		}
		await.Until(t, "given back", func() bool { return f.Stats().Flows == len(flows) })
	}
}

// TestFlowAgain forgets a flow and adds one with the same key at once.
func TestFlowAgain(t *testing.T) {
	f := flowTable(t, 4, false)
	p := newCarrier(t, f, false)
	frame := segment{sport: 7}.frame()
	key := keyOf(t, frame)
	for range 50 {
		flow := f.Add(&key)
		for flow == 0 { // the others are not given back yet
			flow = f.Add(&key)
		}
		f.Resume(flow)
		await.Until(t, "carried", func() bool { return p.carries(t, frame) })
		if c := f.Take(flow); c.Packets == 0 {
			t.Fatal("counted for another flow")
		}
		f.Forget(flow)
	}
}

// up runs the program on a frame of a flow that is pending, and returns the packet as a socket receives it.
func (c *carrier) up(t testing.TB, frame []byte) *Packet {
	t.Helper()
	out := make([]byte, len(frame)+stampSize)
	type xdpMD struct{ Data, DataEnd, DataMeta, Device, Queue, Egress uint32 }
	context := xdpMD{DataEnd: uint32(len(frame))}
	options := ebpf.RunOptions{Data: frame, DataOut: out, Context: &context, ContextOut: &context}
	if _, err := c.objects.Tap.Run(&options); err != nil {
		t.Fatal(err)
	}
	if context.DataMeta != 0 || context.Data != stampSize {
		t.Fatalf("no stamp: %+v", context)
	}
	return &Packet{Data: options.DataOut[stampSize:]}
}

// TestFlowSettles begins to carry a flow of a bridge when none of its packets is on its way up.
func TestFlowSettles(t *testing.T) {
	f := flowTable(t, 1, true)
	p := newCarrier(t, f, true)
	frame := segments["UDP over IPv4"].frame()
	key := keyOf(t, frame)
	flow := f.Add(&key)
	unstamped := &Packet{Data: append(make([]byte, stampSize), frame...)[stampSize:]}
	settle := func(p *Packet) {
		t.Helper()
		stamp := f.CameUp(flow, p)
		if stamp == 0 {
			t.Fatal("not pending")
		}
		f.Settle(flow, stamp)
	}
	for range 3 {
		f.Resume(flow)
		first, second := p.up(t, frame), p.up(t, frame)
		for range 5 { // on their way before it was resumed
			settle(unstamped)
		}
		settle(first)
		third := p.up(t, frame)
		settle(second)
		late := p.up(t, frame)
		settle(third)
		settle(first)
		if p.carries(t, frame) {
			t.Fatal("carried while packets are on their way")
		}
		settle(late)
		last := p.up(t, frame)
		settle(last)
		if !p.carries(t, frame) {
			t.Error("not carried when nothing is on its way any more")
		}
		if f.CameUp(flow, late) != 0 {
			t.Error("still pending")
		}
		if c := f.Take(flow); c.Packets != 1 {
			t.Errorf("%d packets counted, want 1", c.Packets)
		}
		f.Hold(flow)
		if p.carries(t, frame) {
			t.Error("carried while it is held")
		}
		f.Resume(flow)
		settle(last) // of the time before
		if p.carries(t, frame) {
			t.Error("carried by a packet from before it was resumed")
		}
		f.Hold(flow)
	}
}

// TestFlowSettlesUnderLoad begins to carry a flow of which packets are always on their way, after some time.
func TestFlowSettlesUnderLoad(t *testing.T) {
	f := flowTable(t, 1, true)
	p := newCarrier(t, f, true)
	frame := segments["UDP over IPv4"].frame()
	key := keyOf(t, frame)
	flow := f.Add(&key)
	f.Resume(flow)
	before := p.up(t, frame)
	p.up(t, frame)
	for i := range settleMost {
		if i%1000 == 0 && p.carries(t, frame) {
			t.Fatal("carried too early")
		}
		f.Settle(flow, f.CameUp(flow, before))
	}
	if !p.carries(t, frame) {
		t.Error("never carried")
	}
}

// TestFlowSettlesWithoutStamps begins to carry a flow whose packets have no stamps, as with a driver that has no metadata, after some time.
func TestFlowSettlesWithoutStamps(t *testing.T) {
	f := flowTable(t, 1, true)
	frame := segments["UDP over IPv4"].frame()
	key := keyOf(t, frame)
	flow := f.Add(&key)
	f.Resume(flow)
	unstamped := &Packet{Data: append(make([]byte, stampSize), frame...)[stampSize:]}
	n := 0
	for ; n < settleMost; n++ {
		stamp := f.CameUp(flow, unstamped)
		if stamp == 0 {
			break
		}
		f.Settle(flow, stamp)
	}
	if n != settleMost/settleUnstamped {
		t.Errorf("carried after %d packets, want %d", n, settleMost/settleUnstamped)
	}
}

// TestFlowIsExact counts packets that several processors carry while the flow is held and resumed, and while its counts are taken out: none
// is counted twice, and none is missing.
func TestFlowIsExact(t *testing.T) {
	f := flowTable(t, 1, false)
	p := newCarrier(t, f, false)
	frame := segments["UDP over IPv4"].frame()
	key := keyOf(t, frame)
	flow := f.Add(&key)
	var running sync.WaitGroup
	var carried, came, stopped atomic.Uint64
	for range 2 {
		running.Go(func() {
			defer stopped.Add(1)
			for range 2000 {
				action, err := p.objects.Tap.Run(&ebpf.RunOptions{Data: frame})
				switch {
				case err != nil:
					t.Error(err)
				case action == actionDrop:
					carried.Add(1)
				default:
					came.Add(1)
				}
			}
		})
	}
	var taken, bytes uint64
	take := func() {
		c := f.Take(flow)
		taken, bytes = taken+c.Packets, bytes+c.Bytes
	}
	for stopped.Load() < 2 {
		f.Resume(flow)
		take()
		f.Hold(flow)
		take()
	}
	running.Wait()
	take()
	if taken != carried.Load() || bytes != taken*uint64(len(frame)-14) {
		t.Errorf("%d packets and %d bytes were counted, and %d carried, %d not", taken, bytes, carried.Load(), came.Load())
	}
}

// fate is what a model says of a frame.
type fate uint8

const (
	comesUp fate = iota
	ends
	carries
)

// flowModel says what the program does with a frame, given a flow that is carried, or would be. It reads frames as workers do.
func flowModel(frame []byte, key *FlowKey, end uint32, longest int) (f fate, bytes int) {
	l3 := 14
	for range 2 {
		if len(frame) >= l3 && isTag(binary.BigEndian.Uint16(frame[l3-2:])) {
			l3 += 4
		}
	}
	var h packet.Headers
	// Of a packet that is refused because it is cut off it is known as well whether it is of the flow: it comes up.
	if packet.Decode(frame, len(frame), &h) != packet.OK || int(h.L3) != l3 || !h.HasL4 || h.Fragment || h.TTL < 2 {
		return comesUp, 0
	}
	ip := frame[l3:]
	header, length := 20, int(binary.BigEndian.Uint16(ip[2:]))
	if h.Family == packet.IPv6 {
		header, length = 40, 40+int(binary.BigEndian.Uint16(ip[4:]))
		if length == 40 {
			return comesUp, 0
		}
	} else if h.IPFlags&4 != 0 {
		return comesUp, 0
	}
	if int(h.L4)-l3 != header || length != int(h.IPLen) || length > len(ip) || headerKey(&h) != *key {
		return comesUp, 0
	}
	switch h.Proto {
	case packet.ProtoTCP:
		switch {
		case h.TCPFlags&packet.URG != 0:
			return comesUp, 0
		case h.TCPFlags&(packet.SYN|packet.FIN|packet.RST) != 0:
			return ends, 0
		case h.TCPFlags&packet.ACK == 0, h.TCPSeq-end+1<<20 > 2<<20:
			return comesUp, 0
		}
	case packet.ProtoUDP:
		if binary.BigEndian.Uint16(frame[h.L4+4:]) == 0 {
			return comesUp, 0
		}
	default:
		return comesUp, 0
	}
	if longest != 0 && len(frame) > longest {
		return comesUp, 0
	}
	return carries, length
}

func isTag(ethernet uint16) bool {
	return slices.Contains([]uint16{0x8100, 0x88a8, 0x9100, 0x9200, 0x9300}, ethernet)
}

// FuzzFlows compares what the program does with frames with a model of it.
func FuzzFlows(f *testing.F) {
	names := make([]string, 0, len(segments))
	for name := range segments {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		f.Add(uint8(i), segments[name].frame())
	}
	f.Add(uint8(0), []byte{})
	type loaded struct {
		*carrier
		flow    uint32
		key     FlowKey
		end     uint32
		longest int
	}
	var all []loaded
	for i, name := range names {
		l := loaded{end: segments[name].seq}
		bridge := i%2 == 0
		if bridge {
			l.longest = 1518
		}
		l.carrier = newCarrier(f, flowTable(f, 1, false), bridge)
		l.key = keyOf(f, segments[name].frame())
		l.flow = l.flows.Add(&l.key)
		all = append(all, l)
	}
	try := func(t *testing.T, l *loaded, frame []byte) {
		l.flows.Follow(l.flow, l.end, 0)
		l.flows.Resume(l.flow)
		want, bytes := flowModel(frame, &l.key, l.end, l.longest)
		got := comesUp
		switch {
		case l.carries(t, frame):
			got = carries
		case atomic.LoadUint64(&l.flows.records[l.flow].Word)&flowActive == 0:
			got = ends
		}
		c := l.flows.Take(l.flow)
		if got != want || (got == carries) != (c.Packets == 1) || c.Bytes != uint64(bytes) {
			t.Fatalf("%d, and %d packets and %d bytes counted; the model says %d and %d bytes, of %x", got, c.Packets, c.Bytes, want, bytes, frame)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, frame []byte) {
		if len(frame) < 14 || len(frame) > 3000 { // what the kernel does not run a program on
			return
		}
		l := &all[int(which)%len(all)]
		try(t, l, frame)
		// The same with small changes: whatever the fuzzer makes is seldom near a frame of the flow.
		random := rand.New(rand.NewPCG(uint64(which), uint64(len(frame))))
		for range 64 {
			near := slices.Clone(frame)
			for range 1 + random.IntN(2) {
				near[12+random.IntN(min(len(near)-12, 70))] = [...]byte{0, 1, 2, 4, 5, 6, 0x40, 0x45, 0x46, 0x80, 0xff, byte(random.Uint32())}[random.IntN(12)]
			}
			if random.IntN(4) == 0 {
				near = near[:14+random.IntN(len(near)-13)]
			}
			try(t, l, near)
		}
	})
}

// TestFlowsAfterClose takes out what a table has counted when it is closed.
func TestFlowsAfterClose(t *testing.T) {
	nettest.Require(t)
	f, err := NewFlows(4, false)
	if err != nil {
		t.Fatal(err)
	}
	p := newCarrier(t, f, false)
	frame := segments["UDP over IPv4"].frame()
	key := keyOf(t, frame)
	flow := f.Add(&key)
	f.Resume(flow)
	p.carries(t, frame)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if p.carries(t, frame) {
		t.Error("carried after the table was closed")
	}
	if c := f.Take(flow); c.Packets != 1 {
		t.Errorf("%d packets, want 1", c.Packets)
	}
	f.Forget(flow)
	if f.Add(&key) != 0 {
		t.Error("a flow was added after the table was closed")
	}
}
