package xsk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// pair makes a host with two interfaces, "left" and "right", and for each a host with "wire" at its other end.
func pair(t testing.TB, queues int) (middle, left, right *nettest.Host) {
	t.Helper()
	nettest.Require(t)
	middle, left, right = nettest.NewHost(t), nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(left, "wire", middle, "left", queues)
	nettest.Cable(right, "wire", middle, "right", queues)
	return middle, left, right
}

// forward waits for frames of a socket until it has had want of them, hands copies to another to send, and returns how many
// that has queued.
func forward(t testing.TB, from, to *Socket, want int) (queued int) {
	t.Helper()
	views := make([]Packet, 64)
	late := time.Now().Add(patience)
	for n := 0; n < want; {
		if err := from.Wait(patience); err != nil {
			t.Fatal(err)
		}
		k := from.Receive(views)
		q, left, _ := to.Transmit(views[:k])
		for left && time.Now().Before(late) {
			left = to.Flush()
		}
		from.Release()
		queued += q
		if n += k; time.Now().After(late) {
			t.Fatalf("%d of %d frames", n, want)
		}
	}
	return queued
}

// typed returns a frame of an Ethernet type.
func typed(ethernet uint16, n int) []byte {
	frame := []byte{0x01, 0x80, 0xc2, 0, 0, 0x0e, 0x02, 0, 0, 0, 0, 0x01}
	frame = binary.BigEndian.AppendUint16(frame, ethernet)
	return append(frame, numbered(n)[42:]...)
}

// What is sent is what was received, in order, many times around the rings, in both modes and from one interface to another.
func TestTransmit(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) {
			middle, a, b := pair(t, 1)
			left := a.Wire("wire")
			config := Config{Attach: mode, Frames: 64, Bridge: true, Promiscuous: true, PassTypes: []uint16{0x8808}}
			config.Interface = "left"
			from := open(t, middle, config)
			config.Interface = "right"
			to := open(t, middle, config)
			// A packet socket would get frames without their outermost tag.
			end := open(t, b, Config{Interface: "wire", Frames: 64, Bridge: true, Promiscuous: true})

			const rounds, burst = 20, 32
			for round := range rounds {
				var sent [][]byte
				for i := range burst {
					n := round*burst + i
					u := nettest.UDP{}
					if n%3 == 1 {
						u.VLANs = []uint16{7, 8}
					}
					frame := append(numberedTo(u, n), bytes.Repeat([]byte{byte(n)}, n%1400)...)
					if n%7 == 0 {
						frame = typed(0x0806, n) // whatever is in it
					}
					sent = append(sent, frame)
					left.Send(frame)
				}
				if n := forward(t, from.Queues()[0], to.Queues()[0], burst); n != burst {
					t.Fatalf("%d of %d frames were queued", n, burst)
				}
				i := 0
				receive(t, end, burst, func(_ int, got []byte) {
					if i == burst || !bytes.Equal(got, sent[i]) {
						t.Fatalf("round %d, frame %d: got %x", round, i, got)
					}
					i++
				})
			}
			s := sum(t, to).Transmit
			if want := uint64(rounds * burst); s.Sent != want || s.NoRoom+s.TooLong+s.Down+s.InvalidDescs != 0 {
				t.Errorf("statistics %+v, want %d sent", s, want)
			}
			left.Send(typed(0x8808, 1))
			await.Until(t, "left to the kernel", func() bool { return counters(t, from).PassType == 1 })
			if c := counters(t, from); c.Redirected != rounds*burst {
				t.Errorf("counters %+v", c)
			}
			if s := sum(t, end); s.Received != rounds*burst {
				t.Errorf("at the other end: %+v", s)
			}
		})
	}
}

// A batch is sent by one system call, where the kernel allows it, and costs no allocation.
func TestTransmitAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	middle, _, _ := pair(t, 1)
	to := open(t, middle, Config{Interface: "right", Frames: 256, Bridge: true})
	frames := make([][]byte, 64)
	for i := range frames {
		frames[i] = numbered(i)
	}
	s, packets := to.Queues()[0], inOne(frames...)
	if n := testing.AllocsPerRun(20, func() { s.Transmit(packets) }); n > 0 {
		t.Errorf("%v allocations per batch", n)
	}
	if st := sum(t, to).Transmit; st.Sent != 21*64 || st.Wakeups > 21*2 {
		t.Errorf("statistics %+v", st)
	}
}

// What an interface cannot send is counted, and nothing else is sent in its place later.
func TestTransmitRefuses(t *testing.T) {
	middle, _, b := pair(t, 1)
	right := b.Wire("wire")
	to := open(t, middle, Config{Interface: "right", Frames: 64, Bridge: true})
	s := to.Queues()[0]

	long := make([]byte, 1500+linkOverhead+1)
	if n, _, _ := s.Transmit(inOne(long, numbered(1))); n != 1 {
		t.Errorf("%d frames were queued", n)
	}
	if got := kernelReceives(right); number(got) != 1 {
		t.Errorf("received %x", got)
	}
	middle.SetDown("right")
	waitForLink(t, to, "down", func(l Link) bool { return !l.Up })
	if n, left, err := s.Transmit(inOne(numbered(2))); n != 0 || left || err != nil {
		t.Errorf("%d frames were queued", n)
	}
	middle.SetUp("right")
	waitForLink(t, to, "up", func(l Link) bool { return l.Up })
	if n, _, _ := s.Transmit(inOne(numbered(3))); n != 1 {
		t.Errorf("%d frames were queued", n)
	}
	await.Until(t, "sent", func() bool {
		frame := right.Receive(1)
		if frame != nil && number(frame) != 3 {
			t.Fatalf("received %x", frame)
		}
		return frame != nil
	})
	if st := sum(t, to).Transmit; st.Sent != 2 || st.TooLong != 1 || st.Down != 1 || st.NoRoom != 0 {
		t.Errorf("statistics %+v", st)
	}
	if err := to.Close(); err != nil {
		t.Error(err)
	}
	if n, left, err := s.Transmit(inOne(numbered(4))); n != 0 || left || s.Flush() || !errors.Is(err, ErrClosed) {
		t.Errorf("%d frames were queued after Close, %v", n, err)
	}
	if st := sum(t, to).Transmit; st.Sent != 2 || st.Unsent != 0 {
		t.Errorf("statistics after Close %+v", st)
	}
}

// More frames than there are buffers are counted as having found no room.
func TestTransmitNoRoom(t *testing.T) {
	middle, _, _ := pair(t, 1)
	to := open(t, middle, Config{Interface: "right", Frames: 64, Bridge: true})
	frames := make([][]byte, 100)
	for i := range frames {
		frames[i] = numbered(i)
	}
	if n, _, _ := to.Queues()[0].Transmit(inOne(frames...)); n != 64 {
		t.Errorf("%d frames were queued", n)
	}
	if st := sum(t, to).Transmit; st.Sent != 64 || st.NoRoom != 36 {
		t.Errorf("statistics %+v", st)
	}
}

// A socket that also sends leaves nothing behind when it is closed.
func TestTransmitLeavesNothing(t *testing.T) {
	middle, _, _ := pair(t, 2)
	cycle := func() {
		i, err := tryOpen(middle, Config{Interface: "right", Frames: 64, Bridge: true})
		if err != nil {
			t.Fatal(err)
		}
		i.Queues()[0].Transmit(inOne(numbered(1)))
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	descriptors, goroutines := openDescriptors(t), runtime.NumGoroutine()
	for range 20 {
		cycle()
	}
	if n := openDescriptors(t); n > descriptors {
		t.Errorf("%d descriptors, %d before", n, descriptors)
	}
	if n := socketMappings(t); n != 0 {
		t.Errorf("%d mappings of sockets are left", n)
	}
	await.Until(t, "back to as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// What the kernel did not take before the interface went down is not asked for while it is down, and leaves afterwards.
func TestFlushDown(t *testing.T) {
	middle, left, _ := pair(t, 1)
	wire := left.Wire("wire")
	i := open(t, middle, Config{Interface: "left", Frames: 64, Bridge: true, Promiscuous: true})
	s := i.Queues()[0]
	middle.SetDown("left")
	waitForLink(t, i, "down", func(l Link) bool { return !l.Up })
	// As if its going down were not known yet.
	s.transmit.watch.up.Store(true)
	n, waits, err := s.Transmit(inOne(typed(0x1234, 1)))
	if n != 1 || !waits || err != nil {
		t.Fatalf("%d frames were queued, left %v, %v", n, waits, err)
	}
	s.transmit.watch.up.Store(false)
	before := s.transmit.stats().Wakeups
	if s.Flush() || s.transmit.stats().Wakeups != before {
		t.Error("the kernel was asked to send by an interface that is down")
	}
	middle.SetUp("left")
	waitForLink(t, i, "up", func(l Link) bool { return l.Up })
	if n, _, err := s.Transmit(inOne(typed(0x1234, 2))); n != 1 || err != nil {
		t.Errorf("%d frames were queued, %v", n, err)
	}
	for want := 1; want <= 2; {
		frame := wire.Receive(2000)
		if frame == nil {
			t.Fatalf("frame %d has not come", want)
		}
		if bytes.Equal(frame, typed(0x1234, want)) {
			want++
		}
	}
}
