package afpacket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// TestReads reads what comes in and what leaves, each once, marked and stamped.
func TestReads(t *testing.T) {
	for _, test := range []struct {
		name     string
		incoming bool
		workers  int
		want     []int
	}{
		{"both", false, 1, []int{1, 2, 3}},
		{"in", true, 1, []int{1, 3}},
		{"both, several workers", false, 3, []int{1, 2, 3}},
		{"in, several workers", true, 3, []int{1, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sender, host := cable(t)
			s := open(t, host, Config{Incoming: test.incoming, Workers: test.workers}, "tap")
			from, to := sender.Wire("wire"), host.Wire("tap")
			before := time.Now()
			from.Send(numbered(1))
			to.Send(numbered(2))
			from.Send(numbered(3))
			if st, want := s.Status().(Status), strings.Split(test.name, ",")[0]; st.Direction != want || st.Workers != test.workers {
				t.Errorf("the status is %+v, want direction %s", st, want)
			}
			frames := collect(t, s, len(test.want))
			slices.SortFunc(frames, func(a, b packet.Frame) int { return number(a.Data) - number(b.Data) }) // hosts may be served out of order
			for i, f := range frames {
				if got := number(f.Data); got != test.want[i] {
					t.Errorf("frame %d is number %d, want %d", i, got, test.want[i])
				}
				if f.Outgoing != (number(f.Data) == 2) {
					t.Errorf("number %d: outgoing %v", number(f.Data), f.Outgoing)
				}
				if f.Wire != len(numbered(0)) || len(f.Data) != f.Wire || f.Interface != 1 || f.Link != packet.LinkEthernet || f.SegmentSize != 0 {
					t.Errorf("%+v", f)
				}
				now, wall := s.clock.Read()
				received := time.Unix(0, f.Time+wall-now)
				if received.Before(before.Add(-time.Second)) || received.After(time.Now().Add(time.Second)) {
					t.Errorf("received at %v, sent after %v", received, before)
				}
			}
		})
	}
}

// TestTakesNothing reads the packets of a conversation that goes on as if nobody did.
func TestTakesNothing(t *testing.T) {
	sender, host := cable(t)
	sender.Address("wire", "192.0.2.1/24")
	host.Address("tap", "192.0.2.2/24")
	s := open(t, host, Config{}, "tap")
	conversation(t, sender, host, 1<<10)
	var bytes int
	for r := read(t, s); bytes == 0; {
		for _, f := range r.next() {
			bytes += f.Wire
		}
	}
}

// conversation sends so many bytes over a TCP connection from 192.0.2.1 to 192.0.2.2.
func conversation(t *testing.T, client, server *nettest.Host, size int) {
	t.Helper()
	var listener net.Listener
	var err error
	server.Do(func() { listener, err = net.Listen("tcp4", "192.0.2.2:80") })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	received := make(chan int64, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			received <- -1
			return
		}
		defer conn.Close()
		n, _ := io.Copy(io.Discard, conn)
		received <- n
	}()
	var conn net.Conn
	client.Do(func() { conn, err = net.Dial("tcp4", "192.0.2.2:80") })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if n := <-received; n != int64(size) {
		t.Errorf("%d of %d bytes arrived", n, size)
	}
}

// TestOneWorkerPerFlow sends many flows over two interfaces, the answers over the other: each flow reaches one queue.
func TestOneWorkerPerFlow(t *testing.T) {
	sender, host := cable(t)
	nettest.Cable(sender, "wire2", host, "tap2", 1)
	s := open(t, host, Config{Workers: 4, Incoming: true}, "tap", "tap2")
	there, back := sender.Wire("wire"), sender.Wire("wire2")
	const flows = 64
	for port := uint16(1000); port < 1000+flows; port++ {
		client, server := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		there.Send(nettest.UDP{Source: client, Dest: server, SourcePort: port, DestinationPort: 53}.Frame(nil))
		back.Send(nettest.UDP{Source: server, Dest: client, SourcePort: 53, DestinationPort: port}.Frame(nil))
	}
	type seen struct{ queue, device int }
	got := make(map[uint16][]seen)
	var mu sync.Mutex
	var all sync.WaitGroup
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	total := 0
	for i, q := range s.Queues() {
		all.Go(func() {
			var b packet.Batch
			for ctx.Err() == nil {
				if err := q.Receive(ctx, &b, -1); err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, f := range b.Frames[:b.N] {
					var h packet.Headers
					packet.DecodeLink(f.Link, f.Data, f.Wire, &h)
					port := max(h.SrcPort, h.DstPort)
					got[port] = append(got[port], seen{i, int(f.Interface)})
					if total++; total == 2*flows {
						done()
					}
				}
				mu.Unlock()
				q.Release()
			}
		})
	}
	all.Wait()
	used := make(map[int]bool)
	for port, list := range got {
		if len(list) != 2 || list[0].queue != list[1].queue || list[0].device == list[1].device {
			t.Errorf("port %d: %v", port, list)
			continue
		}
		used[list[0].queue] = true
	}
	if len(got) != flows || len(used) != 4 {
		t.Errorf("%d of %d flows on %d of 4 queues", len(got), flows, len(used))
	}
}

// TestOrderOfInterfaces sends packets to two interfaces in turn: one queue reads them in the order in which they came, though
// the kernel hands over those of the first interface later.
func TestOrderOfInterfaces(t *testing.T) {
	sender, host := cable(t)
	nettest.Cable(sender, "wire2", host, "tap2", 1)
	s := open(t, host, Config{Incoming: true}, "tap", "tap2")
	wires := []*nettest.Wire{sender.Wire("wire"), sender.Wire("wire2")}
	const frames = 200
	onOneProcessor(t, func() {
		for i := range frames {
			wires[i%2].Send(numbered(i))
		}
	})
	r, last := read(t, s), int64(0)
	for i, f := range r.frames(frames) {
		if n := number(f.Data); n != i || f.Interface != uint32(1+i%2) || f.Time < last || f.Time > r.batch.Now {
			t.Fatalf("frame %d is number %d of interface %d, at %d after %d, and now is %d", i, n, f.Interface, f.Time, last, r.batch.Now)
		}
		last = f.Time
	}
}

// onOneProcessor runs fn on one processor, which serves what it sends in that order.
func onOneProcessor(t *testing.T, fn func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	for cpu := range 1024 {
		if before.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	fn()
	if err := unix.SchedSetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
}

// TestOrderIsBounded has one interface that stays silent: packets of the other do not wait for it.
func TestOrderIsBounded(t *testing.T) {
	sender, host := cable(t)
	nettest.Cable(sender, "wire2", host, "tap2", 1)
	s := open(t, host, Config{Incoming: true}, "tap", "tap2")
	sender.Wire("wire").Send(numbered(1))
	if f := read(t, s).frames(1)[0]; number(f.Data) != 1 {
		t.Errorf("read % x", f.Data)
	}
}

// TestTagsAreThere has VLAN tags in the frames, as they were on the wire, though the kernel strips the outer one.
func TestTagsAreThere(t *testing.T) {
	for _, tags := range [][]uint16{nil, {7}, {7, 8}} {
		t.Run(fmt.Sprint(tags), func(t *testing.T) {
			sender, host := cable(t)
			r := read(t, open(t, host, Config{}, "tap"))
			sent := nettest.UDP{VLANs: tags}.Frame([]byte("tagged"))
			sender.Wire("wire").Send(sent)
			f := r.frames(1)[0]
			if !slices.Equal(f.Data, sent) || f.Wire != len(sent) {
				t.Errorf("%d bytes\n% x, want\n% x", f.Wire, f.Data, sent)
			}
		})
	}
}

// TestCuts reads as much of a packet as the snap length says, and knows how long it was.
func TestCuts(t *testing.T) {
	sender, host := cable(t)
	r := read(t, open(t, host, Config{SnapLength: 100}, "tap"))
	sent := nettest.UDP{}.Frame(make([]byte, 1000))
	sender.Wire("wire").Send(sent)
	if f := r.frames(1)[0]; len(f.Data) != 100 || f.Wire != len(sent) || !slices.Equal(f.Data, sent[:100]) {
		t.Errorf("%d of %d bytes, want 100 of %d", len(f.Data), f.Wire, len(sent))
	}
}

// TestWithoutEthernet reads an interface whose packets have no link-layer header.
func TestWithoutEthernet(t *testing.T) {
	nettest.Require(t)
	host := nettest.NewHost(t)
	tun := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_ONE_QUEUE, Queues: 1,
	}
	var err error
	host.Do(func() { err = netlink.LinkAdd(tun) })
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Fds[0].Close()
	host.SetUp("tun0")
	r := read(t, open(t, host, Config{}, "tun0"))
	sent := nettest.UDP{}.Frame([]byte("routed"))[14:]
	if _, err := unix.Write(int(tun.Fds[0].Fd()), sent); err != nil {
		t.Fatal(err)
	}
	if f := r.frames(1)[0]; f.Link != packet.LinkRaw || !slices.Equal(f.Data, sent) || f.Wire != len(sent) {
		t.Errorf("%v, %d bytes\n% x, want\n% x", f.Link, f.Wire, f.Data, sent)
	}
}

// TestMergedPackets sends a stream that the kernel carries in packets longer than the interface allows: each tells into how
// many it would be cut.
func TestMergedPackets(t *testing.T) {
	sender, host := cable(t)
	sender.Address("wire", "192.0.2.1/24")
	host.Address("tap", "192.0.2.2/24")
	s := open(t, host, Config{Incoming: true}, "tap")
	const size = 1 << 20
	conversation(t, sender, host, size)
	merged, data := 0, 0
	for r := read(t, s); data < size; {
		for _, f := range r.next() {
			var h packet.Headers
			packet.DecodeLink(f.Link, f.Data, f.Wire, &h)
			if h.Proto != packet.ProtoTCP {
				continue // ARP
			}
			payload := f.Wire - 14 - 20 - int(f.Data[14+20+12]>>4)*4
			data += payload
			if payload > 1460 {
				if merged++; f.SegmentSize == 0 || f.SegmentSize > 1460 {
					t.Fatalf("%d bytes of data in segments of %d", payload, f.SegmentSize)
				}
			} else if f.SegmentSize != 0 {
				t.Fatalf("%d bytes of data in segments of %d", payload, f.SegmentSize)
			}
		}
	}
	if merged == 0 {
		t.Error("no packet was merged: this test proves nothing")
	}
}

// smallRing is the smallest ring that the options allow.
const smallRing = minBlocks * minBlock

// TestOverrun sends more than the ring holds while nobody reads: what is missing is counted, once.
func TestOverrun(t *testing.T) {
	sender, host := cable(t)
	s := open(t, host, Config{RingSize: smallRing}, "tap")
	wire := sender.Wire("wire")
	const sent = 40_000
	for i := range sent {
		wire.Send(numbered(i))
	}
	readAll(t, s, host, sent)
	dropped := counter(s, "ring_dropped")
	if dropped == 0 || counter(s, "received") == 0 || counter(s, "ring_full") == 0 {
		t.Errorf("%d received, %d dropped", counter(s, "received"), dropped)
	}
	if again := counter(s, "ring_dropped"); again != dropped {
		t.Errorf("%d dropped, and then %d", dropped, again)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after := counter(s, "ring_dropped"); after != dropped {
		t.Errorf("%d dropped, and after closing %d", dropped, after)
	}
}

// readAll reads until every packet that was sent to "tap" is accounted for: received, dropped by the ring, or dropped by a busy
// machine before it came to the ring. It returns the frames' numbers.
func readAll(t *testing.T, s *Source, host *nettest.Host, sent uint64) (numbers []int) {
	t.Helper()
	r := read(t, s)
	for limit := time.Now().Add(patience); ; {
		if err := r.queue.Receive(t.Context(), &r.batch, 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		for _, f := range r.batch.Frames[:r.batch.N] {
			numbers = append(numbers, number(f.Data))
		}
		r.queue.Release()
		if r.batch.N > 0 {
			continue
		}
		received, dropped, before := counter(s, "received"), counter(s, "ring_dropped"), host.Link("tap").Attrs().Statistics.RxDropped
		if received+dropped+before == sent {
			return numbers
		}
		if time.Now().After(limit) {
			t.Fatalf("%d received, %d dropped, %d before the ring, of %d", received, dropped, before, sent)
		}
	}
}

// TestManyRounds reads several times as much as the ring holds, in order.
func TestManyRounds(t *testing.T) {
	sender, host := cable(t)
	s := open(t, host, Config{RingSize: smallRing}, "tap")
	wire := sender.Wire("wire")
	const rounds, each = 200, 250
	last := -1
	for round := range rounds {
		for i := range each {
			wire.Send(numbered(round*each + i))
		}
		for _, n := range readAll(t, s, host, uint64((round+1)*each)) {
			if n <= last {
				t.Fatalf("number %d follows %d", n, last)
			}
			last = n
		}
	}
	if counter(s, "malformed_packets") != 0 || counter(s, "received") < rounds*each/2 {
		t.Errorf("%d received, %d malformed", counter(s, "received"), counter(s, "malformed_packets"))
	}
}

// TestGoneInterface takes an interface away whose packets wait for those of another: they are read.
func TestGoneInterface(t *testing.T) {
	for _, others := range [][]string{nil, {"tap2"}} {
		sender, host := cable(t)
		nettest.Cable(sender, "wire2", host, "tap2", 1)
		told := make(news, 1)
		s := open(t, host, Config{Incoming: true, Warn: told.warn}, append([]string{"tap"}, others...)...)
		r := read(t, s)
		if err := r.queue.Receive(t.Context(), &r.batch, 0); err != nil { // looks at what is attached
			t.Fatal(err)
		}
		wire := sender.Wire("wire")
		const sent = 50
		for i := range sent {
			wire.Send(numbered(i))
		}
		for host.Link("tap").Attrs().Statistics.RxPackets < sent {
			runtime.Gosched() // until they are here
		}
		host.Delete("tap")
		told.wait(t, s, "gone", func(st State) bool { return st.Condition == Waiting })
		for i, f := range r.frames(sent) {
			if number(f.Data) != i {
				t.Fatalf("frame %d is number %d", i, number(f.Data))
			}
		}
	}
}

// TestClosesWhatItOpens counts descriptors and mappings, also where no worker has looked at the sockets.
func TestClosesWhatItOpens(t *testing.T) {
	sender, host := cable(t)
	held := func() (descriptors, rings int) {
		t.Helper()
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return len(list), strings.Count(string(maps), "socket:[")
	}
	fds, rings := held()
	check := func(what string) {
		t.Helper()
		if f, r := held(); f > fds || r > rings {
			t.Errorf("%s: %d descriptors and %d rings, before %d and %d", what, f, r, fds, rings)
		}
	}
	c := Config{Interfaces: []Interface{{Name: "tap"}}, Workers: 2, RingSize: smallRing, SnapLength: 256}
	host.Do(func() {
		outside := fds
		defer func() { fds = outside }()
		fds, _ = held() // with a handle of the namespace
		s, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		check("opened and closed")
		c.Interfaces = append(c.Interfaces, Interface{Name: "nosuch0"})
		if _, err := Open(c); !errors.Is(err, ErrInterfaceMissing) {
			t.Errorf("%v", err)
		}
		check("not opened")
	})
	told := make(news, 1)
	s := open(t, host, Config{Workers: 1, RingSize: smallRing, Warn: told.warn}, "tap")
	r := read(t, s)
	if err := r.queue.Receive(t.Context(), &r.batch, 0); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		host.Delete("tap")
		told.wait(t, s, "gone", func(st State) bool { return st.Condition == Waiting })
		nettest.Cable(sender, "wire", host, "tap", 1)
		told.wait(t, s, "there again", func(st State) bool { return st.Condition == Up && st.Opened == 2+i })
	}
	limit := time.Now().Add(patience)
	openSockets := func() int {
		q := s.queues[0]
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.open)
	}
	for openSockets() > 1 && time.Now().Before(limit) {
		if err := r.queue.Receive(t.Context(), &r.batch, 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if n := openSockets(); n != 1 {
		t.Errorf("%d sockets are open of one interface", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("after the interface came and went")
}

// TestLoopback reads what a host sends to itself once.
func TestLoopback(t *testing.T) {
	nettest.Require(t)
	host := nettest.NewHost(t)
	s := open(t, host, Config{}, "lo")
	host.Do(func() {
		conn, err := net.Dial("udp4", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range 2 {
			_, _ = conn.Write([]byte("once")) // the second tells that nobody listens
		}
	})
	outgoing := 0
	for _, f := range collect(t, s, 2) {
		if f.Outgoing {
			outgoing++
		}
	}
	if outgoing != 0 {
		t.Errorf("%d packets were read where they leave", outgoing)
	}
}

// TestLife takes an interface down and up, renames it, removes it and makes it again.
func TestLife(t *testing.T) {
	sender, host := cable(t)
	told := make(news, 1)
	s := open(t, host, Config{Warn: told.warn}, "tap")
	r := read(t, s)
	number1 := 0
	receive := func() {
		t.Helper()
		number1++
		sender.Wire("wire").Send(numbered(number1))
		for {
			for _, f := range r.next() {
				if number(f.Data) == number1 {
					return
				}
			}
		}
	}
	receive()

	host.SetDown("tap")
	told.wait(t, s, "down", func(st State) bool { return st.Condition == Down })
	host.SetUp("tap")
	told.wait(t, s, "up again", func(st State) bool { return st.Condition == Up && st.Opened == 1 })
	receive()

	host.SetDown("tap")
	link := host.Link("tap")
	host.Do(func() {
		if err := netlink.LinkSetName(link, "renamed"); err != nil {
			t.Fatal(err)
		}
	})
	host.SetUp("renamed")
	told.wait(t, s, "renamed", func(st State) bool { return st.Condition == Up && st.Renamed == "renamed" })
	receive()

	host.Delete("renamed")
	told.wait(t, s, "gone", func(st State) bool { return st.Condition == Waiting && strings.Contains(st.Error, "no such interface") })
	nettest.Cable(sender, "wire", host, "tap", 1)
	told.wait(t, s, "there again", func(st State) bool { return st.Condition == Up && st.Opened == 2 && st.Renamed == "" })
	receive()
}

// TestAwayAndBack moves an interface to another network namespace and back, with the index that it had, while nobody looks: it is read again.
func TestAwayAndBack(t *testing.T) {
	sender, host := cable(t)
	other := nettest.NewHost(t)
	told := make(news, 1)
	s := open(t, host, Config{Warn: told.warn}, "tap")
	index := host.Link("tap").Attrs().Index
	if err := s.messages.Close(); err != nil { // ends who looks
		t.Fatal(err)
	}
	<-s.stopped
	host.Move("tap", other)
	other.Move("tap", host)
	host.SetUp("tap")
	if now := host.Link("tap").Attrs().Index; now != index {
		t.Fatalf("index %d, want %d", now, index)
	}
	host.Do(func() {
		var err error
		if s.messages, err = subscribeLinks(); err != nil {
			t.Fatal(err)
		}
	})
	s.stopped = make(chan struct{})
	go s.run()
	host.SetMTU("tap", 1400) // any message makes it look
	told.wait(t, s, "open again", func(st State) bool { return st.Condition == Up && st.Opened == 2 && st.MTU == 1400 })
	r := read(t, s)
	sender.Wire("wire").Send(numbered(1))
	for number(r.next()[0].Data) != 1 {
	}
}

// TestNamesOfOthers gives interfaces the names of others: each is read once, as what it is called now.
func TestNamesOfOthers(t *testing.T) {
	sender, host := cable(t)
	nettest.Cable(sender, "wire2", host, "tap2", 1)
	told := make(news, 1)
	s := open(t, host, Config{Warn: told.warn}, "tap", "tap2")
	first, second := host.Link("tap").Attrs().Index, host.Link("tap2").Attrs().Index
	r := read(t, s)
	wire, wire2 := sender.Wire("wire"), sender.Wire("wire2")
	sent := 0
	// once sends packets to an interface, and wants each once, from the interface with that id.
	once := func(wire *nettest.Wire, id uint32) {
		t.Helper()
		begin := sent + 1
		for range 3 {
			sent++
			wire.Send(numbered(sent))
		}
		for next := begin; next <= sent; {
			for _, f := range r.next() {
				if number(f.Data) != next || f.Interface != id {
					t.Fatalf("packet %d of interface %d, want %d of %d", number(f.Data), f.Interface, next, id)
				}
				next++
			}
		}
	}
	rename := func(from, to string) {
		t.Helper()
		link := host.Link(from)
		host.Do(func() {
			if err := netlink.LinkSetName(link, to); err != nil {
				t.Fatal(err)
			}
		})
	}
	reads := func(indices ...int) func([]State) bool { // 0 for an interface that is waited for
		return func(states []State) bool {
			for i, index := range indices {
				if st := states[i]; index == 0 && st.Condition != Waiting || index != 0 && (st.Condition != Up || st.Index != index || st.Renamed != "") {
					return false
				}
			}
			return true
		}
	}
	once(wire, 1)
	once(wire2, 2)

	rename("tap", "other")
	told.waitAll(t, s, "renamed", func(st []State) bool { return st[0].Renamed == "other" && st[0].Condition == Up })
	once(wire, 1)
	rename("tap2", "tap") // a name that another one has had
	told.waitAll(t, s, "the second is the first", reads(second, 0))
	once(wire2, 1)
	rename("other", "tap2") // exchanged
	told.waitAll(t, s, "exchanged", reads(second, first))
	once(wire2, 1)
	once(wire, 2)

	host.Delete("tap")
	told.waitAll(t, s, "gone", reads(0, first))
	rename("tap2", "tap") // a name that is waited for
	told.waitAll(t, s, "in the place of the one that has gone", reads(first, 0))
	once(wire, 1)
}

// TestOptional reads an interface from when it appears, also again, and finds nothing wrong while it is away or down.
func TestOptional(t *testing.T) {
	sender, host := cable(t)
	told := make(news, 1)
	var mu sync.Mutex
	var logged, warned []string // of the optional interface
	note := func(list *[]string) func(string, ...any) {
		return func(msg string, args ...any) {
			if slices.Equal(args, []any{"interface", "vpn"}) {
				mu.Lock()
				*list = append(*list, msg)
				mu.Unlock()
			}
			told.warn(msg)
		}
	}
	var s *Source
	var err error
	c := Config{Workers: 1, RingSize: smallRing, SnapLength: 256, Warn: note(&warned), Info: note(&logged), Interfaces: []Interface{{Name: "vpn", ID: 1, Optional: true}, {Name: "tap", ID: 2}}}
	host.Do(func() { s, err = Open(c) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	fine := func() {
		t.Helper()
		if err := s.Blind(); err != nil {
			t.Errorf("Blind = %v", err)
		}
	}
	if st := s.States(); st[0].Condition != Waiting || st[0].Opened != 0 || st[1].Condition != Up {
		t.Errorf("%+v", st)
	}
	fine()
	mu.Lock()
	if diff := cmp.Diff([]string{"interface is not there; it is read when it appears"}, logged); diff != "" {
		t.Errorf("said at the start: %s", diff)
	}
	mu.Unlock()
	r := read(t, s)
	for opened := range uint64(2) {
		nettest.Cable(sender, "far", host, "vpn", 1)
		told.wait(t, s, "there", func(st State) bool { return st.Condition == Up && st.Opened == opened+1 })
		sender.Wire("far").Send(numbered(7))
		for f := r.next()[0]; f.Interface != 1 || number(f.Data) != 7; f = r.next()[0] {
		}
		host.SetDown("vpn")
		told.wait(t, s, "down", func(st State) bool { return st.Condition == Down })
		fine()
		host.Delete("vpn")
		told.wait(t, s, "gone", func(st State) bool { return st.Condition == Waiting })
		fine()
	}
	host.SetDown("tap")
	told.waitAll(t, s, "down", func(st []State) bool { return st[1].Condition == Down })
	if err := s.Blind(); err == nil || err.Error() != "interface tap is down" {
		t.Errorf("Blind = %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(warned) > 0 || !slices.Contains(logged, "interface is up") || !slices.Contains(logged, "interface has gone") {
		t.Errorf("warned of an optional interface: %q; said without a warning: %q", warned, logged)
	}
}

// TestOptionalTwice gives an interface that is read the name of an optional one, too, which is wrong, unlike one that is not there.
func TestOptionalTwice(t *testing.T) {
	_, host := cable(t)
	told := make(news, 1)
	c := Config{Workers: 1, RingSize: smallRing, SnapLength: 256, Warn: told.warn, Interfaces: []Interface{{Name: "tap"}, {Name: "vpn", Optional: true}}}
	var s, again *Source
	var err error
	host.Do(func() { s, err = Open(c) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	tap := host.Link("tap")
	host.Do(func() { err = netlink.LinkAddAltName(tap, "vpn") })
	if err != nil {
		t.Fatal(err)
	}
	told.waitAll(t, s, "refused", func(st []State) bool { return strings.Contains(st[1].Error, ErrReadTwice.Error()) })
	if err := s.Blind(); err == nil || err.Error() != "interface vpn is gone or cannot be opened" {
		t.Errorf("Blind = %v", err)
	}
	host.Do(func() { again, err = Open(c) })
	if !errors.Is(err, ErrReadTwice) {
		t.Errorf("Open = %v, %v", again, err)
	}
}

// TestDownAtTheStart opens an interface that is down, with several workers, and reads it when it is up.
func TestDownAtTheStart(t *testing.T) {
	sender, host := cable(t)
	host.SetDown("tap")
	told := make(news, 1)
	s := open(t, host, Config{Workers: 2, Warn: told.warn}, "tap")
	if st := s.States()[0]; st.Condition != Down || st.Opened != 0 {
		t.Errorf("%+v", st)
	}
	if err := s.Blind(); err == nil || err.Error() != "interface tap is down" {
		t.Errorf("Blind = %v", err)
	}
	select {
	case <-told:
	default:
		t.Error("nobody is told that the interface is down")
	}
	host.SetUp("tap")
	told.wait(t, s, "up", func(st State) bool { return st.Condition == Up })
	if err := s.Blind(); err != nil {
		t.Errorf("Blind = %v", err)
	}
	sender.Wire("wire").Send(numbered(1))
	if f := collect(t, s, 1)[0]; number(f.Data) != 1 {
		t.Errorf("read % x", f.Data)
	}
}

// TestEnds ends a wait by its context, and the source for good by Close.
func TestEnds(t *testing.T) {
	_, host := cable(t)
	s := open(t, host, Config{}, "tap")
	q := s.Queues()[0]
	ctx, cancel := context.WithCancel(t.Context())
	var b packet.Batch
	ended := make(chan error)
	go func() { ended <- q.Receive(ctx, &b, -1) }()
	cancel()
	if err := <-ended; err != nil || b.N != 0 || b.Now == 0 {
		t.Errorf("%v, %d frames at %d", err, b.N, b.Now)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := q.Receive(t.Context(), &b, -1); !errors.Is(err, io.EOF) {
		t.Errorf("%v after the end", err)
	}
}

func TestDoesNotOpen(t *testing.T) {
	nettest.Require(t)
	host := nettest.NewHost(t)
	c := Config{Interfaces: []Interface{{Name: "nosuch0"}}, Workers: 1, RingSize: smallRing, SnapLength: 256}
	host.Do(func() {
		if _, err := Open(c); !errors.Is(err, ErrInterfaceMissing) || !strings.Contains(err.Error(), "nosuch0") {
			t.Errorf("%v", err)
		}
		if err := netlink.LinkSetUp(host.Link("lo")); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkAddAltName(host.Link("lo"), "loopback"); err != nil {
			t.Fatal(err)
		}
		two := c
		two.Interfaces = []Interface{{Name: "lo"}, {Name: "loopback"}}
		if _, err := Open(two); !errors.Is(err, ErrReadTwice) {
			t.Errorf("%v for two names of one interface", err)
		}
	})
	// A thread without capabilities is not given back.
	c.Interfaces[0].Name = "lo"
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- err
			return
		}
		_, err := Open(c)
		result <- err
	}()
	if err := <-result; !errors.Is(err, ErrCapability) {
		t.Errorf("%v without capabilities", err)
	}
}
