package xsk

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"golang.org/x/sys/unix"
)

func TestEveryPacketOnce(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) {
			sender, tap := cable(t, 4)
			i := open(t, tap, Config{Interface: "tap", Attach: mode, Frames: 1024})
			if i.Mode() != mode || len(i.Queues()) != 4 {
				t.Fatalf("mode %v, %d queues", i.Mode(), len(i.Queues()))
			}
			const packets = 2000
			wire := sender.Wire("wire")
			for n := range packets {
				wire.Send(numberedTo(nettest.UDP{SourcePort: uint16(1024 + n)}, n)) // the flow chooses the queue
			}
			got := make(map[int]int)
			queues := make(map[int]int)
			receive(t, i, packets, func(queue int, packet []byte) {
				got[number(packet)]++
				queues[queue]++
			})
			for n := range packets {
				if got[n] != 1 {
					t.Fatalf("packet %d came %d times", n, got[n])
				}
			}
			if len(got) != packets || len(queues) < 2 {
				t.Errorf("%d different packets over queues %v", len(got), queues)
			}
			if s := sum(t, i); s.Received != packets || s.RxDropped+s.RxRingFull+s.RxInvalidDescs+s.Malformed != 0 {
				t.Errorf("statistics %+v", s)
			}
			if c := counters(t, i); c != (Counters{Redirected: packets}) {
				t.Errorf("counters %+v", c)
			}
		})
	}
}

// The program decides, packet by packet, what stays with the kernel.
func TestPass(t *testing.T) {
	arp := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06}, make([]byte, 46)...)
	lldp := append([]byte{0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xcc}, make([]byte, 46)...)
	six := nettest.UDP{Source: netip.MustParseAddr("2001:db8::1"), Dest: netip.MustParseAddr("2001:db8::2")}
	to := func(u nettest.UDP, port uint16, vlans ...uint16) []byte {
		u.DestinationPort, u.VLANs = port, vlans
		return u.Frame(make([]byte, 20))
	}
	four := nettest.UDP{}
	changed := func(frame []byte, at int, values ...byte) []byte {
		copy(frame[at:], values)
		return frame
	}
	// behind puts a header between Ethernet and IP.
	behind := func(frame []byte, typ uint16, header ...byte) []byte {
		out := binary.BigEndian.AppendUint16(append([]byte{}, frame[:12]...), typ)
		return append(append(out, header...), frame[14:]...)
	}
	// A destination options header of 8 bytes between the IPv6 header and UDP; a hop-by-hop header before that.
	extended := to(six, 22)
	extended = append(extended[:54:54], append([]byte{60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0}, extended[54:]...)...)
	extended[20] = 0
	neighbour := changed(to(six, 1), 20, 58)
	neighbour[54] = 135

	redirected, notIP := Counters{Redirected: 1}, Counters{PassNotIP: 1}
	port := Counters{PassPort: 1}
	cases := []struct {
		name  string
		frame []byte
		ports Counters // with pass ports 22 and 65535
		none  Counters // without any
	}{
		{"ARP", arp, notIP, notIP},
		{"LLDP", lldp, notIP, notIP},
		{"IPv4", to(four, 80), redirected, redirected},
		{"IPv6", to(six, 80), redirected, redirected},
		{"port", to(four, 22), port, redirected},
		{"highest port", to(four, 65535), port, redirected},
		{"source port only", nettest.UDP{SourcePort: 22}.Frame(make([]byte, 20)), redirected, redirected},
		{"TCP port", changed(to(four, 22), 23, 6), port, redirected},
		{"SCTP port", changed(to(four, 22), 23, 132), redirected, redirected},
		{"port, one tag", to(four, 22, 100), port, redirected},
		{"port, two tags", to(four, 22, 100, 200), port, redirected},
		{"two tags", to(four, 80, 100, 200), redirected, redirected},
		{"eight tags", to(four, 22, 1, 2, 3, 4, 5, 6, 7, 8), port, redirected},
		{"nine tags", to(four, 22, 1, 2, 3, 4, 5, 6, 7, 8, 9), notIP, notIP},
		{"old tag", changed(to(four, 22, 100), 12, 0x91, 0), port, redirected},
		{"PPPoE port", behind(to(four, 22), 0x8864, 0x11, 0, 0, 1, 0, 30, 0, 0x21), port, redirected},
		{"PPPoE", behind(to(six, 80), 0x8864, 0x11, 0, 0, 1, 0, 30, 0, 0x57), redirected, redirected},
		{"PPPoE, short protocol", behind(to(four, 22), 0x8864, 0x11, 0, 0, 1, 0, 30, 0x21), port, redirected},
		{"PPPoE control", behind(to(four, 22), 0x8864, 0x11, 0, 0, 1, 0, 30, 0xc0, 0x21), notIP, notIP},
		{"PPPoE, MPLS", behind(to(four, 22), 0x8864, 0x11, 0, 0, 1, 0, 30, 2, 0x81, 0, 0, 1, 9), port, redirected},
		{"PPPoE discovery", behind(to(four, 22), 0x8863, 0x11, 9, 0, 1, 0, 30, 0, 0x21), notIP, notIP},
		{"MPLS port", behind(to(four, 22), 0x8847, 0, 0, 0, 9, 0, 0, 1, 9), port, redirected},
		{"MPLS", behind(to(six, 80), 0x8848, 0, 0, 1, 9), redirected, redirected},
		{"MPLS without IP", behind(to(four, 22), 0x8847, 0, 0, 1, 9, 0, 0, 0, 0), notIP, notIP},
		{"MPLS without end", behind(to(four, 22), 0x8847, make([]byte, 64)...), notIP, notIP},
		{"tagged ARP", append(append(append([]byte{}, arp[:12]...), 0x81, 0, 0, 5), arp[12:]...), notIP, notIP},
		{"port, IPv6", to(six, 22), port, redirected},
		{"port, IPv6, two tags", to(six, 22, 1, 2), port, redirected},
		{"port, IPv6 extensions", extended, port, redirected},
		{"neighbour discovery", neighbour, Counters{PassNeighbour: 1}, redirected},
		{"first fragment", changed(to(four, 22), 20, 0x20, 0), port, redirected},
		{"later fragment", changed(to(four, 22), 20, 0, 5), redirected, redirected},
		{"header length 0", changed(to(four, 22), 14, 0x40), redirected, redirected},
		{"cut in the IPv4 header", to(four, 22)[:30], redirected, redirected},
		{"cut before the ports", to(four, 22)[:36], redirected, redirected},
		{"cut in the IPv6 header", to(six, 22)[:50], redirected, redirected},
	}
	for _, ports := range [][]uint16{nil, {22, 65535}} {
		name, want := "no pass ports", func(k int) Counters { return cases[k].none }
		if ports != nil {
			name, want = "pass ports", func(k int) Counters { return cases[k].ports }
		}
		t.Run(name, func(t *testing.T) {
			sender, tap := cable(t, 1)
			i := open(t, tap, Config{Interface: "tap", PassPorts: ports, Frames: 64})
			wire, kernel := sender.Wire("wire"), tap.Wire("tap")
			var total Counters
			for k, c := range cases {
				wire.Send(c.frame)
				w := want(k)
				total.Redirected += w.Redirected
				total.PassNotIP += w.PassNotIP
				total.PassPort += w.PassPort
				total.PassNeighbour += w.PassNeighbour
				if w.Redirected == 1 {
					receive(t, i, 1, func(_ int, packet []byte) {
						if string(packet) != string(c.frame) {
							t.Errorf("%s: received %x, sent %x", c.name, packet, c.frame)
						}
					})
				} else if kernelReceives(kernel) == nil { // a tag is not in the bytes that the kernel shows
					t.Errorf("%s: did not reach the kernel", c.name)
				}
				if got := counters(t, i); got != total {
					t.Fatalf("%s: counters %+v, want %+v", c.name, got, total)
				}
			}
			if left := kernel.Receive(20); left != nil {
				t.Errorf("the kernel also got %x", left)
			}
		})
	}
}

func TestPassWithoutSocket(t *testing.T) {
	sender, tap := cable(t, 1)
	p, err := loadProgram(tap.Link("tap").Attrs().Index, 1, Config{}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.close() })
	if err := p.attach(Native); err == nil {
		t.Fatal("attached to an index of another namespace")
	}
	tap.Do(func() { err = p.attach(Native) })
	if err != nil {
		t.Fatal(err)
	}
	kernel := tap.Wire("tap")
	sender.Wire("wire").Send(numbered(1))
	if number(kernelReceives(kernel)) != 1 {
		t.Error("the kernel did not get the packet")
	}
	if c, err := p.counters(); err != nil || c != (Counters{PassNoSocket: 1}) {
		t.Errorf("counters %+v, %v", c, err)
	}
}

// Every length from the shortest to one byte too many arrives whole, or is counted: in one buffer, as the interface is opened with an
// MTU that is raised later, and in several.
func TestEveryLength(t *testing.T) {
	for _, size := range []int{smallFrame, largeFrame} {
		for _, mode := range []Mode{Native, Generic} {
			t.Run(fmt.Sprintf("%v/%d", mode, size), func(t *testing.T) {
				testEveryLength(t, Config{Interface: "tap", Attach: mode, FrameSize: size, Frames: 256}, false)
			})
			t.Run(fmt.Sprintf("%v/%d/several", mode, size), func(t *testing.T) {
				testEveryLength(t, Config{Interface: "tap", Attach: mode, FrameSize: size, Frames: 256}, true)
			})
		}
	}
}

func testEveryLength(t *testing.T, config Config, several bool) {
	sender, tap := cable(t, 1)
	mtu := 9000
	if !several && config.Attach == Native {
		mtu = 3500 // the veth driver refuses more
	}
	setMTU := func(mtu int) {
		sender.SetMTU("wire", mtu)
		tap.SetMTU("tap", mtu)
	}
	if several {
		setMTU(mtu)
	} else {
		setMTU(min(mtu, MaxMTU(config.FrameSize)))
	}
	i := open(t, tap, config)
	setMTU(mtu)
	if i.Several() != several {
		t.Fatalf("a packet takes several buffers: %v", i.Several())
	}
	limit := min(i.MaxPacket(), mtu+14)
	wire := sender.Wire("wire")
	sent := 0
	for length := 60; length <= limit; length += step(length, limit, config.FrameSize-headroom) {
		payload := make([]byte, length-42)
		for k := range payload {
			payload[k] = byte(length + k)
		}
		frame := nettest.UDP{}.Frame(payload)
		wire.Send(frame)
		sent++
		receive(t, i, 1, func(_ int, packet []byte) {
			if string(packet) != string(frame) {
				t.Fatalf("%d bytes were received as %d", len(frame), len(packet))
			}
		})
	}
	if limit != i.MaxPacket() {
		return
	}
	wire.Send(nettest.UDP{}.Frame(make([]byte, limit+1-42)))
	wire.Send(numbered(1)) // behind it, on the same queue
	if got := collect(t, i, 1); got[1] != 1 || len(got) != 1 {
		t.Errorf("received %v", got)
	}
	if s := sum(t, i); s.RxDropped != 1 || s.Received != uint64(sent)+1 {
		t.Errorf("statistics %+v after %d packets", s, sent)
	}
}

// step makes the lengths dense where something could be off by one: at the ends, and where one more buffer is needed.
func step(length, limit, buffer int) int {
	const near = 2
	if beyond := length % buffer; length < 70 || length >= limit-near || beyond <= near || beyond >= buffer-near {
		return 1
	}
	return min(101, limit-near-length, buffer-near-length%buffer)
}

func TestRingsWrap(t *testing.T) {
	sender, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap", Frames: 64})
	wire := sender.Wire("wire")
	next := 0
	for round := range 100 { // more than 60 times round the rings, in steps that meet every position
		n := 1 + round%64
		for k := range n {
			wire.Send(numbered(next + k))
		}
		receive(t, i, n, func(_ int, packet []byte) {
			if got := number(packet); got != next {
				t.Fatalf("packet %d came in the place of %d", got, next)
			}
			next++
		})
	}
}

// The indices of the rings wrap at 2^32 without a packet being seen twice or a buffer being lost.
func TestIndicesWrap(t *testing.T) {
	const entries = 8
	memory := make([]uint64, 3+entries)
	bytes := make([]byte, 24)
	fill := fillRing{ring[uint64]{producer: indexAt(bytes, 0), entries: memory[3:], mask: entries - 1, next: ^uint32(0) - 2}}
	fill.producer.Store(fill.next)
	for n := range uint64(6) {
		at := fill.next & fill.mask
		fill.add([]uint64{n})
		if fill.entries[at] != n || fill.producer.Load() != fill.next {
			t.Fatalf("entry %d is not at %d", n, at)
		}
	}
	if fill.next != 3 {
		t.Errorf("the index is %d", fill.next)
	}

	receive := receiveRing{ring[unix.XDPDesc]{producer: indexAt(bytes, 8), consumer: indexAt(bytes, 16), mask: entries - 1, next: ^uint32(0)}}
	receive.producer.Store(2)
	if n := receive.ready(); n != 3 {
		t.Errorf("%d are ready, want 3", n)
	}
	receive.consume(3)
	if receive.next != 2 || receive.consumer.Load() != 2 || receive.ready() != 0 {
		t.Errorf("after 3: index %d, %d ready", receive.next, receive.ready())
	}
}

func TestSlowReader(t *testing.T) {
	sender, tap := cable(t, 1)
	const frames = 64
	i := open(t, tap, Config{Interface: "tap", Frames: frames})
	wire := sender.Wire("wire")
	const sent = 3 * frames
	for n := range sent {
		wire.Send(numbered(n))
	}
	dropped := func(want uint64) func() bool {
		return func() bool { return sum(t, i).RxDropped >= want }
	}
	await.Until(t, "dropped for want of buffers", dropped(sent-frames))
	s := i.Queues()[0]
	views := make([]Packet, sent)
	n := 0
	await.Until(t, "given all that there are buffers for", func() bool { // without Release between
		n += s.Receive(views[n:])
		return n >= frames
	})
	if n += s.Receive(views[n:]); n != frames {
		t.Fatalf("received %d where there are buffers for %d", n, frames)
	}
	// The kernel has no buffer left, and must not write to those that the reader holds.
	for n := range frames {
		wire.Send(numbered(sent + n))
	}
	await.Until(t, "dropped while the reader holds all buffers", dropped(sent))
	for k, packet := range views[:n] {
		if number(packet.Data) != k {
			t.Fatalf("packet %d in the place of %d", number(packet.Data), k)
		}
	}
	s.Release()
	wire.Send(numbered(9999))
	if got := collect(t, i, 1); got[9999] != 1 || len(got) != 1 {
		t.Errorf("after the recovery: received %v", got)
	}

	stats := sum(t, i)
	c := counters(t, i)
	if c.Redirected != sent+frames+1 {
		t.Errorf("redirected %d of %d", c.Redirected, sent+frames+1)
	}
	if c.Redirected != stats.Received+stats.RxDropped+stats.RxRingFull {
		t.Errorf("the sum does not hold: %+v, %+v", c, stats)
	}
	if stats.FillRingEmpty != stats.RxDropped || stats.FillRingEmpty == 0 {
		t.Errorf("fill ring empty %d times, %d dropped", stats.FillRingEmpty, stats.RxDropped)
	}
}

// Millions of packets, most of them lost: the sum still holds to the last one.
func TestFloodBalances(t *testing.T) {
	sender, tap := cable(t, 2)
	i := open(t, tap, Config{Interface: "tap", Frames: 256})
	done := make(chan struct{})
	var sent uint64
	var floodErr error
	go func() {
		defer close(done)
		sent, floodErr = sender.Flood(t.Context(), nettest.Flood{Device: "wire", Flows: 64, Count: 1 << 19})
	}()
	waiter := NewWaiter(i.Queues()...)
	views := make([]Packet, 64)
	last := make(map[int]uint64)
	turn := func() (n int) {
		for _, s := range i.Queues() {
			k := s.Receive(views)
			for _, packet := range views[:k] {
				sequence := binary.LittleEndian.Uint64(packet.Data[42:]) + 1
				if sequence <= last[s.Queue()] {
					t.Errorf("queue %d: packet %d after %d", s.Queue(), sequence, last[s.Queue()])
				}
				last[s.Queue()] = sequence
			}
			s.Release()
			n += k
		}
		return n
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if err := waiter.Wait(10e6); err != nil {
			t.Fatal(err)
		}
		turn()
	}
	for turn() > 0 {
	}
	if floodErr != nil {
		t.Fatal(floodErr)
	}
	// What the program had redirected is in the counters of the sockets once it is off the interface.
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	c, s := counters(t, i), sum(t, i)
	if s.Received == 0 || c.Redirected > sent {
		t.Errorf("sent %d: %+v, %+v", sent, c, s)
	}
	if c.Redirected != s.Received+s.RxDropped+s.RxRingFull+s.RxUnread {
		t.Errorf("the sum does not hold: %+v, %+v", c, s)
	}
	t.Logf("sent %d, redirected %d, received %d, dropped %d", sent, c.Redirected, s.Received, s.RxDropped)
}

// TestCloseCountsUnread closes an interface while packets come that nobody reads any more: all that the program has redirected is in a
// counter, whether it is taken off or, pinned, stays.
func TestCloseCountsUnread(t *testing.T) {
	for name, config := range map[string]Config{
		"tap":    {Interface: "tap", Frames: 1024},
		"bridge": {Interface: "tap", Frames: 1024, Bridge: true},
		"pinned": {Interface: "tap", Frames: 1024, Bridge: true, OnFailure: FailOpen},
	} {
		t.Run(name, func(t *testing.T) {
			sender, tap := cable(t, 2)
			if name == "pinned" {
				config.BPFFS = nettest.BPFFS(t)
			}
			i := open(t, tap, config)
			ctx, stop := context.WithCancel(t.Context())
			flooded := make(chan error, 1)
			go func() {
				_, err := sender.Flood(ctx, nettest.Flood{Device: "wire", Flows: 64, Count: 1 << 22})
				flooded <- err
			}()
			await.Until(t, "full rings", func() bool { return sum(t, i).RxDropped > 0 })
			views := make([]Packet, 64)
			for _, s := range i.Queues() { // there are buffers again
				s.Receive(views)
				s.Release()
			}
			if err := i.Close(); err != nil {
				t.Fatal(err)
			}
			stop()
			if err := <-flooded; err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			c, s := counters(t, i), sum(t, i)
			if s.RxUnread == 0 || c.Redirected != s.Received+s.RxDropped+s.RxRingFull+s.RxUnread {
				t.Errorf("the sum does not hold: %+v, %+v", c, s)
			}
		})
	}
}
