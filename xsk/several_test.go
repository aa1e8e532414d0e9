package xsk

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// jumbo makes a pair whose cables have an MTU, and opens both interfaces in the middle with buffers of a size.
func jumbo(t testing.TB, mtu, size, frames int, mode Mode) (left, right *nettest.Host, from, to *Interface) {
	t.Helper()
	middle, left, right := pair(t, 1)
	for _, h := range []*nettest.Host{left, right} {
		h.SetMTU("wire", mtu)
	}
	config := Config{Attach: mode, Frames: frames, FrameSize: size, Bridge: true, Promiscuous: true}
	for name, to := range map[string]**Interface{"left": &from, "right": &to} {
		middle.SetMTU(name, mtu)
		config.Interface = name
		*to = open(t, middle, config)
		if !(*to).Several() || (*to).MaxPacket() < mtu+linkOverhead {
			t.Fatalf("a packet of %s takes one buffer", name)
		}
	}
	return left, right, from, to
}

// pattern returns a frame of a length, which depends on it.
func pattern(length int) []byte {
	frame := nettest.UDP{}.Frame(make([]byte, length-42))
	for i := 42; i < length; i++ {
		frame[i] = byte(i*length>>4 + i)
	}
	return frame
}

// Packets of several buffers are sent as they came, whatever their length, many times around the rings, between packets of one.
func TestTransmitSeveral(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		for _, size := range []int{smallFrame, largeFrame} {
			left, right, from, to := jumbo(t, 9000, size, 64, mode)
			wire, end := left.Wire("wire"), right.Wire("wire")
			n, total := uint64(0), uint64(0)
			for length := 60; length <= 9014; {
				for _, length := range []int{length, 60 + length%500} {
					frame := pattern(length)
					wire.Send(frame)
					if q := forward(t, from.Queues()[0], to.Queues()[0], 1); q != 1 {
						t.Fatalf("%v, buffers of %d bytes: %d bytes were not queued", mode, size, length)
					}
					if got := kernelReceives(end); !bytes.Equal(got, frame) {
						t.Fatalf("%v, buffers of %d bytes: %d bytes came as %d", mode, size, length, len(got))
					}
					n, total = n+1, total+uint64(length)
				}
				length += step(length, 9014, size)
			}
			if s := sum(t, from); s.Received != n || s.Bytes != total || s.Malformed != 0 {
				t.Errorf("received %+v, want %d packets of %d bytes", s, n, total)
			}
			if s := sum(t, to).Transmit; s.Sent != n || s.Bytes != total || s.NoRoom+s.TooLong+s.InvalidDescs != 0 {
				t.Errorf("sent %+v, want %d packets of %d bytes", s, n, total)
			}
		}
	}
}

// A packet for which there are too few buffers, or that takes more than the kernel gathers, is not sent at all, and those after it are.
func TestTransmitSeveralRefuses(t *testing.T) {
	_, right, _, to := jumbo(t, 65535, smallFrame, 64, Native)
	end := right.Wire("wire")
	s := to.Queues()[0]
	longest := maxSegments * smallFrame
	for _, length := range []int{longest, longest + 1} {
		want := min(1, longest+1-length)
		if n, _, _ := s.Transmit([]Packet{{Data: pattern(length)[:100], Rest: [][]byte{pattern(length)[100:]}}}); n != want {
			t.Errorf("%d packets of %d bytes were queued", n, length)
		}
	}
	if got := kernelReceives(end); !bytes.Equal(got, pattern(longest)) {
		t.Errorf("received %d bytes, want %d", len(got), longest)
	}
	// 3 of 17 buffers and one of 12 leave one.
	var packets []Packet
	for range 3 {
		packets = append(packets, Packet{Data: pattern(longest)})
	}
	packets = append(packets, Packet{Data: pattern(12 * smallFrame)}, Packet{Data: pattern(smallFrame + 1)}, Packet{Data: pattern(smallFrame)})
	n, left, _ := s.Transmit(packets)
	if n != 5 {
		t.Errorf("%d packets were queued", n)
	}
	for late := time.Now().Add(patience); left && time.Now().Before(late); {
		left = s.Flush()
	}
	for i, p := range packets {
		if i == 4 {
			continue
		}
		if got := kernelReceives(end); !bytes.Equal(got, p.Data) {
			t.Errorf("packet %d: received %d bytes, want %d", i, len(got), len(p.Data))
		}
	}
	if st := sum(t, to).Transmit; st.Sent != 6 || st.TooLong != 1 || st.NoRoom != 1 || st.InvalidDescs != 0 {
		t.Errorf("statistics %+v", st)
	}
	if got := end.Receive(0); got != nil {
		t.Errorf("%d bytes more", len(got))
	}
}

// The descriptors of the receive ring are taken for packets whatever is in them, and every buffer that is ours goes back.
func TestReceiveChains(t *testing.T) {
	_, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap", Frames: 64})
	s := i.Queues()[0]
	const one, more = 0, unix.XDP_PKT_CONTD
	outside := uint64(len(s.umem))
	// The kernel's half of the rings is played here: it has no packet for this interface.
	arrive := func(options uint32, address uint64) {
		d := &s.receive.entries[s.receive.producer.Load()&s.receive.mask]
		*d = unix.XDPDesc{Addr: address, Len: 10, Options: options}
		s.receive.producer.Add(1)
	}
	views := make([]Packet, 64)
	check := func(what string, held, malformed int, lengths ...int) {
		t.Helper()
		n := s.Receive(views)
		if n != len(lengths) {
			t.Fatalf("%s: %d packets, want %d", what, n, len(lengths))
		}
		for k, want := range lengths {
			if got := views[k].Len(); got != want || len(whole(views[k])) != want {
				t.Errorf("%s: packet %d of %d bytes, want %d", what, k, got, want)
			}
		}
		if len(s.held) != held || s.malformed.Load() != uint64(malformed) {
			t.Errorf("%s: %d buffers held, want %d; %d malformed, want %d", what, len(s.held), held, s.malformed.Load(), malformed)
		}
		s.Release()
	}
	buffer := func(k int) uint64 { return uint64(k*smallFrame + headroom) }
	for lap := range 50 { // chains meet the end of the ring at every position
		arrive(one, buffer(1))
		arrive(more, buffer(2))
		arrive(more, buffer(3))
		arrive(one, buffer(4))
		arrive(one, buffer(5))
		check("chain", 5, 0, 10, 30, 10)
		arrive(more, buffer(6))
		check("without its end", 0, 0)
		arrive(more, buffer(7))
		check("still without", 0, 0)
		arrive(one, buffer(8))
		check("with its end", 3, 0, 30)
		for range lap % 3 {
			arrive(one, buffer(9))
			check("one", 1, 0, 10)
		}
	}
	arrive(more, buffer(1))
	arrive(more, outside)
	arrive(one, buffer(3))
	arrive(one, buffer(4))
	check("outside in the middle", 3, 1, 10)
	arrive(more, ^uint64(0)-4)
	arrive(one, buffer(3))
	check("outside at the front", 1, 2)
	arrive(more, buffer(1))
	arrive(one, outside)
	check("outside at the end", 1, 3)
	for k := range 64 {
		arrive(more, buffer(k))
	}
	check("no end in the whole ring", 64, 3, 640)
	arrive(one, buffer(1))
	check("after all that", 1, 3, 10)
	// Fewer places than packets, the first of them long.
	arrive(more, buffer(1))
	arrive(one, buffer(2))
	arrive(one, buffer(3))
	if n := s.Receive(views[:1]); n != 1 || views[0].Len() != 20 {
		t.Errorf("%d packets", n)
	}
	if n := s.Receive(views[1:2]); n != 1 || views[1].Len() != 10 || views[0].Len() != 20 {
		t.Errorf("%d packets", n)
	}
	s.Release()
}

// A reader that is slow loses packets whole.
func TestSlowReaderOfSeveral(t *testing.T) {
	left, _, from, _ := jumbo(t, 9000, smallFrame, 64, Native)
	wire := left.Wire("wire")
	const sent, fit = 40, 12 // of 5 buffers each
	for n := range sent {
		wire.Send(append(numbered(n), make([]byte, 8900)...))
	}
	await.Until(t, "dropped", func() bool { return sum(t, from).RxDropped == sent-fit })
	next := 0
	receive(t, from, fit, func(_ int, packet []byte) {
		if number(packet) != next || len(packet) != len(numbered(0))+8900 {
			t.Errorf("packet %d of %d bytes", number(packet), len(packet))
		}
		next++
	})
	wire.Send(numbered(99))
	if got := collect(t, from, 1); got[99] != 1 {
		t.Errorf("received %v", got)
	}
	if s := sum(t, from); s.Received != fit+1 || s.RxDropped != sent-fit || counters(t, from).Redirected != sent+1 {
		t.Errorf("%+v, %+v", s, counters(t, from))
	}
}
