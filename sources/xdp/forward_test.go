package xdp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/answer"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/xsk"
)

// pair is a host with a bridge over "left" and "right", each a cable to a host with "wire".
type pair struct {
	left, right, middle *nettest.Host
	fromLeft, fromRight *Source
	propagate           bool // the loss of a carrier
	warn                func(string, ...any)
	wait                func(s *Source, what string, good func(State) bool)
	attach              map[string]xsk.Mode // by interface; native where the driver has it if it is not set
	// Of both sources; not pinned, and closed, if they are not set.
	bpffs     string
	onFailure xsk.Failure
}

func newPair(t testing.TB, queues int) *pair {
	t.Helper()
	p := cables(t, queues)
	p.start(t)
	return p
}

// newPairOf returns a pair whose cables have an MTU.
func newPairOf(t testing.TB, mtu int) *pair {
	t.Helper()
	p := cables(t, 1)
	for _, h := range []*nettest.Host{p.left, p.right} {
		h.SetMTU("wire", mtu)
	}
	for _, name := range []string{"left", "right"} {
		p.middle.SetMTU(name, mtu)
	}
	p.start(t)
	return p
}

func cables(t testing.TB, queues int) *pair {
	t.Helper()
	nettest.Require(t)
	p := &pair{left: nettest.NewHost(t), right: nettest.NewHost(t), middle: nettest.NewHost(t)}
	p.warn, p.wait = conditions(t)
	nettest.Cable(p.left, "wire", p.middle, "left", queues)
	nettest.Cable(p.right, "wire", p.middle, "right", queues)
	return p
}

func (p *pair) start(t testing.TB) {
	t.Helper()
	p.fromLeft, p.fromRight = p.open(t, "left", 1), p.open(t, "right", 2)
	if err := errors.Join(plugged{p.fromLeft}.Pair(plugged{p.fromRight}), plugged{p.fromRight}.Pair(plugged{p.fromLeft})); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) open(t testing.TB, name string, id uint32) *Source {
	t.Helper()
	var s *Source
	var err error
	p.middle.Do(func() {
		s, err = Open(t.Context(), Config{ID: id, Warn: p.warn, LinkPropagation: p.propagate, Device: xsk.Config{
			Interface: name, Attach: p.attach[name], Frames: 256, Bridge: true, Promiscuous: true, PassTypes: []uint16{pauseFrames},
			OnFailure: p.onFailure, OnFailureAfter: 50 * time.Millisecond, BPFFS: p.bpffs,
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// work carries the frames of all queues as workers do: judge says what becomes of each. It returns a function that stops them and
// returns how many frames were not sent.
func (p *pair) work(t testing.TB, judge func(f *packet.Frame) source.Verdict) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var mu sync.Mutex
	lost := 0
	for _, s := range []*Source{p.fromLeft, p.fromRight} {
		for _, q := range (plugged{s}).Queues() {
			f := q.(source.Forwarder)
			var b packet.Batch
			if err := f.Receive(ctx, &b, 0); err != nil || b.N > 0 { // from here on frames are handed over
				t.Fatalf("%d frames, %v", b.N, err)
			}
			running.Go(func() {
				var verdicts [packet.BatchSize]source.Verdict
				for ctx.Err() == nil {
					if err := f.Receive(ctx, &b, time.Minute); err != nil {
						t.Error(err)
						return
					}
					for i := range b.Frames[:b.N] {
						verdicts[i] = judge(&b.Frames[i])
					}
					if b.N > 0 {
						n := f.Forward(verdicts[:b.N])
						mu.Lock()
						lost += n
						mu.Unlock()
					}
					f.Release()
				}
			})
		}
	}
	stop = sync.OnceValue(func() int {
		cancel()
		running.Wait()
		return lost
	})
	t.Cleanup(func() { stop() })
	return stop
}

// next returns the next frame on a wire; nil if there is none.
func next(w *nettest.Wire) []byte { return w.Receive(int(patience.Milliseconds())) }

// Frames cross in both directions unchanged, whatever is in them, in the order of their flow, and none comes back to where it came from.
func TestForward(t *testing.T) {
	for _, queues := range []int{1, 2} {
		p := newPair(t, queues)
		left, right := p.left.Wire("wire"), p.right.Wire("wire")
		stop := p.work(t, func(f *packet.Frame) source.Verdict {
			if f.LeavesBy != 3-f.Interface {
				t.Errorf("a frame of interface %d leaves by %d", f.Interface, f.LeavesBy)
			}
			return source.Forward
		})
		arp := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x08, 0x06}, bytes.Repeat([]byte{1}, 46)...)
		bpdu := append([]byte{0x01, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 38, 0x42, 0x42, 3}, bytes.Repeat([]byte{2}, 43)...)
		six := nettest.UDP{Source: netip.MustParseAddr("2001:db8::1"), Dest: netip.MustParseAddr("2001:db8::2")}.Frame(make([]byte, 1000))
		for _, direction := range []struct{ from, to *nettest.Wire }{{left, right}, {right, left}} {
			for _, frame := range [][]byte{arp, bpdu, six, numbered(1, 1)} {
				direction.from.Send(frame)
				if got := next(direction.to); !bytes.Equal(got, frame) {
					t.Fatalf("got %x, want %x", got, frame)
				}
			}
			for n := range 500 {
				direction.from.Send(numbered(n, 7))
				if n%50 == 49 {
					for k := n - 49; k <= n; k++ {
						if got := number(next(direction.to)); got != k {
							t.Fatalf("frame %d came in the place of %d", got, k)
						}
					}
				}
			}
		}
		if lost := stop(); lost != 0 {
			t.Errorf("%d frames were not sent", lost)
		}
		for _, w := range []*nettest.Wire{left, right} {
			if frame := w.Receive(0); frame != nil {
				t.Errorf("one more: %x", frame)
			}
		}
		for _, s := range []*Source{p.fromLeft, p.fromRight} {
			if sent := sent(t, s); sent.Sent != 504 || sent.NoRoom+sent.Down+sent.TooLong+sent.InvalidDescs != 0 {
				t.Errorf("%+v", sent)
			}
		}
	}
}

// Frames of any length cross a bridge of jumbo frames, in several buffers or in one, and are counted once; what hooks see of one is
// its first buffer and its whole length.
func TestForwardJumbo(t *testing.T) {
	p := newPairOf(t, 9000)
	left, right := p.left.Wire("wire"), p.right.Wire("wire")
	var wire atomic.Uint64
	stop := p.work(t, func(f *packet.Frame) source.Verdict {
		var h packet.Headers
		if cause := packet.Decode(f.Data, f.Wire, &h); f.Data[12] == 8 && f.Data[13] == 0 && (cause != packet.OK || int(h.IPLen)+14 != f.Wire) {
			t.Errorf("%v in a frame of %d bytes, %d in its first buffer: %+v", cause, f.Wire, len(f.Data), h)
		}
		wire.Add(uint64(f.Wire))
		return source.Forward
	})
	frames, size := 0, 0
	for length := 14; length <= 9014; {
		for _, direction := range []struct{ from, to *nettest.Wire }{{left, right}, {right, left}} {
			frame := patterned(length)
			direction.from.Send(frame)
			if got := next(direction.to); !bytes.Equal(got, frame) {
				t.Fatalf("%d bytes came as %d", len(frame), len(got))
			}
			frames, size = frames+1, size+length
		}
		// Near what one buffer more is needed for, to receive into or to send from, every one.
		switch near := min(nearest(length, 4096-256), nearest(length, 4096)); {
		case length < 80 || length > 9000 || near <= 2:
			length++
		default:
			length += min(near-2, 151)
		}
	}
	if lost := stop(); lost != 0 {
		t.Errorf("%d frames were not sent", lost)
	}
	if got := sent(t, p.fromLeft).Sent + sent(t, p.fromRight).Sent; got != uint64(frames) || wire.Load() != uint64(size) {
		t.Errorf("%d frames of %d bytes; sent %d, and judged %d bytes", frames, size, got, wire.Load())
	}
}

// nearest returns how far it is from n to the nearest multiple of m.
func nearest(n, m int) int { return min(n%m, m-n%m) }

// patterned returns a frame of a length: UDP if it has room for it.
func patterned(length int) []byte {
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, max(length-14, 0))...)
	if length >= 42 {
		frame = nettest.UDP{}.Frame(make([]byte, length-42))
	}
	for i := 42; i < length; i++ {
		frame[i] = byte(i * i >> 5)
	}
	return frame
}

// What is longer than the other interface takes does not cross, in part or whole, and is counted.
func TestForwardJumboTooLong(t *testing.T) {
	p := newPairOf(t, 9000)
	p.middle.SetMTU("right", 1500)
	p.wait(p.fromRight, "of a smaller MTU", func(st State) bool { return st.MTU == 1500 })
	left, right := p.left.Wire("wire"), p.right.Wire("wire")
	stop := p.work(t, func(*packet.Frame) source.Verdict { return source.Forward })
	left.Send(patterned(9014))
	left.Send(patterned(1523))
	left.Send(patterned(1522))
	if got := next(right); !bytes.Equal(got, patterned(1522)) {
		t.Errorf("a frame of %d bytes", len(got))
	}
	if lost := stop(); lost != 2 {
		t.Errorf("%d frames were not sent", lost)
	}
	if s := sent(t, p.fromRight); s.Sent != 1 || s.TooLong != 2 {
		t.Errorf("%+v", s)
	}
}

// A frame is sent on once for each time that it comes in, whosever address it has, and an answer that comes back is not answered: what a
// loop around the bridge returns does not become more.
func TestNoStorm(t *testing.T) {
	p := newPair(t, 1)
	left, right := p.left.Wire("wire"), p.right.Wire("wire")
	stop := p.work(t, func(f *packet.Frame) source.Verdict {
		if f.Data[35] == 2 {
			return source.Reject
		}
		return source.Forward
	})
	ours := [][]byte{p.middle.Link("left").Attrs().HardwareAddr, p.middle.Link("right").Attrs().HardwareAddr}
	broadcast := bytes.Repeat([]byte{0xff}, 6)
	frames := uint64(0)
	for _, from := range ours {
		for _, to := range append(ours, broadcast) {
			frame := tcp(1)
			copy(frame, to)
			copy(frame[6:], from)
			// As a loop returns it: what has left by one side comes in by the other.
			for range 20 {
				left.Send(frame)
				if got := next(right); !bytes.Equal(got, frame) {
					t.Fatalf("got %x, want %x", got, frame)
				}
				right.Send(frame)
				if got := next(left); !bytes.Equal(got, frame) {
					t.Fatalf("got %x, want %x", got, frame)
				}
				frames++
			}
		}
	}
	rejected := tcp(2)
	copy(rejected, ours[0])
	copy(rejected[6:], ours[1])
	left.Send(rejected)
	answer := next(left)
	for range 3 { // it would be rejected, too, but is not answered
		copy(answer[34:], []byte{0, 2})
		left.Send(answer)
		right.Send(answer)
	}
	left.Send(tcp(3)) // behind them
	if got := next(right); !bytes.Equal(got, tcp(3)) {
		t.Errorf("got %x", got)
	}
	right.Send(tcp(3))
	if got := next(left); !bytes.Equal(got, tcp(3)) {
		t.Errorf("got %x", got)
	}
	stop()
	for _, w := range []*nettest.Wire{left, right} {
		if frame := w.Receive(0); frame != nil {
			t.Errorf("one more: %x", frame)
		}
	}
	if l, r := sent(t, p.fromLeft).Sent, sent(t, p.fromRight).Sent; l != frames+2 || r != frames+1 {
		t.Errorf("sent %d and %d frames, of %d", l, r, frames)
	}
}

// sent adds up what the sockets of a source have sent.
func sent(t testing.TB, s *Source) (sum xsk.TransmitStats) {
	t.Helper()
	stats, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	for i := range stats.Queues {
		q := &stats.Queues[i].Transmit
		sum.Sent += q.Sent
		sum.NoRoom += q.NoRoom
		sum.Down += q.Down
		sum.TooLong += q.TooLong
		sum.InvalidDescs += q.InvalidDescs
	}
	return sum
}

// tcp returns a SYN between two stations. Its checksums are not right, which nobody looks at.
func tcp(port uint16) []byte {
	frame := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, unix.IPPROTO_TCP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}
	frame = binary.BigEndian.AppendUint16(frame, port)
	return append(frame, 0, 80, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, packet.SYN, 0, 0, 0, 0, 0, 0)
}

// What is dropped does not cross. What is rejected is answered, to whoever sent it, a limited number of times.
func TestDropAndReject(t *testing.T) {
	p := newPair(t, 1)
	left, right := p.left.Wire("wire"), p.right.Wire("wire")
	stop := p.work(t, func(f *packet.Frame) source.Verdict {
		switch f.Data[35] {
		case 1:
			return source.Drop
		case 2:
			return source.Reject
		}
		return source.Forward
	})
	left.Send(tcp(1))
	left.Send(tcp(2))
	left.Send(tcp(3))
	if got := next(right); !bytes.Equal(got, tcp(3)) {
		t.Fatalf("%x has crossed", got)
	}
	got := next(left)
	var h packet.Headers
	if cause := packet.Decode(got, len(got), &h); cause != packet.OK || h.TCPFlags != packet.RST|packet.ACK || h.TCPAck != 10 || h.DstPort != 2 {
		t.Errorf("the answer is %x: %+v", got, h)
	}
	if !bytes.Equal(got[:12], []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}) {
		t.Errorf("the answer is from %x to %x", got[6:12], got[:6])
	}
	right.Send(tcp(2))
	if got := next(right); len(got) == 0 {
		t.Error("no answer to the right")
	}
	if lost := stop(); lost != 0 {
		t.Errorf("%d frames were not sent", lost)
	}
	stats := plugged{p.fromLeft}.forwarded()
	if len(stats) != 1 || stats[0] != (ForwardStats{Answers: 1}) {
		t.Errorf("%+v", stats)
	}
}

// A burst of answers is let through, and then so many a second.
func TestAnswerLimit(t *testing.T) {
	var l answerLimit
	took := func(now time.Duration) (n int) {
		for l.take(int64(now)) {
			n++
		}
		return n
	}
	if n := took(time.Hour); n != answerBurst {
		t.Errorf("%d at once", n)
	}
	if n := took(time.Hour + 10*time.Millisecond); n != 10 {
		t.Errorf("%d after 10 ms", n)
	}
	f := forwarding{buffer: make([]byte, 0, packet.BatchSize*answerRoom)}
	for range answerBurst {
		f.buffer = f.buffer[:0]
		if f.answer(&xsk.Packet{Data: tcp(2)}, answer.Closed) == nil {
			t.Fatal("no answer")
		}
	}
	if f.answer(&xsk.Packet{Data: tcp(2)}, answer.Closed) != nil || f.stats().AnswersLimited != 1 {
		t.Errorf("%+v", f.stats())
	}
}

// While the interface of the peer is down or gone, frames are counted as not sent; the bridge goes on when it is back.
func TestPeerAway(t *testing.T) {
	p := newPair(t, 1)
	left := p.left.Wire("wire")
	seen := make(chan struct{}, 1<<10)
	stop := p.work(t, func(*packet.Frame) source.Verdict {
		seen <- struct{}{}
		return source.Forward
	})
	send := func(n int) {
		t.Helper()
		left.Send(numbered(n, 1))
		select {
		case <-seen:
		case <-time.After(patience):
			t.Fatal("no frame")
		}
	}
	right := p.right.Wire("wire")
	send(1)
	if number(next(right)) != 1 {
		t.Fatal("it does not work")
	}
	p.middle.SetDown("right")
	p.wait(p.fromRight, "down", func(st State) bool { return st.Condition == Down })
	send(2)
	p.middle.Delete("right")
	p.wait(p.fromRight, "waiting", func(st State) bool { return st.Condition == Waiting })
	send(3)
	nettest.Cable(p.right, "wire", p.middle, "right", 1)
	p.wait(p.fromRight, "up", func(st State) bool { return st.Condition == Up })
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // they are counted after they were seen
		stats := (plugged{p.fromLeft}).forwarded()
		if stats[0].NotSent == 2 && stats[0].PeerAway == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("two frames were not sent, of them one because the peer was away: %+v", stats)
		}
	}
	right = p.right.Wire("wire")
	goesPast(t, left, right, 4)
	goesPast(t, right, left, 5) // until its worker has begun, what comes from there ends
	stop()
}

// A pair whose interfaces are the ends of one cable is refused: one frame would go round in it for ever.
func TestLoop(t *testing.T) {
	nettest.Require(t)
	p := &pair{middle: nettest.NewHost(t)}
	nettest.Cable(p.middle, "left", p.middle, "right", 1)
	a, b := p.open(t, "left", 1), p.open(t, "right", 2)
	if err := (plugged{a}).Pair(plugged{b}); !errors.Is(err, ErrLoop) {
		t.Errorf("got %v", err)
	}
	if err := (plugged{a}).Pair(plugged{a}); err == nil {
		t.Error("a source is its own peer")
	}
}

// An interface whose packets do not fit is refused with what to do, in a tap and in a bridge.
func TestLongPacketsRefused(t *testing.T) {
	sender, tap := cable(t, 1)
	try := func(device xsk.Config) (err error) {
		device.Interface = "tap"
		tap.Do(func() {
			var s *Source
			if s, err = Open(t.Context(), Config{Device: device}); err == nil {
				err = s.Close()
			}
		})
		return err
	}
	for _, c := range []struct {
		device xsk.Config
		mtu    int
		multi  bool // the kernel spreads packets over several buffers
		want   string
	}{
		{device: xsk.Config{}, mtu: 9000, want: "interface tap has an MTU of 9000, and buffers of 4096 bytes hold packets of an MTU up to 3818: " +
			ErrMTU.Error() + ". Use: ip link set tap mtu 3818, or Linux 6.6 or newer, which spreads longer packets over several buffers"},
		{device: xsk.Config{FrameSize: 2048}, mtu: 3000, want: "mtu 1770, or frame_size = 4096, or Linux 6.6"},
		{device: xsk.Config{FrameSize: 2048, Bridge: true}, mtu: 65535, multi: true, want: "an MTU up to 34794"},
		{device: xsk.Config{}, mtu: 3818},
		{device: xsk.Config{FrameSize: 2048}, mtu: 65536, multi: true},
		{device: xsk.Config{Bridge: true}, mtu: 65536, multi: true},
	} {
		c.device.Interface = "tap"
		err := checkMTU(&c.device, c.mtu, c.multi)
		if c.want == "" && err == nil {
			continue
		}
		if c.want == "" || !errors.Is(err, ErrMTU) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
	sender.SetMTU("wire", 40000)
	tap.SetMTU("tap", 40000)
	if err := try(xsk.Config{FrameSize: 2048, Bridge: true}); !errors.Is(err, ErrMTU) {
		t.Errorf("got %v", err)
	}
	for _, bridge := range []bool{false, true} {
		if err := try(xsk.Config{Bridge: bridge}); err != nil {
			t.Error(err)
		}
	}
}

// A batch that is forwarded, or answered, costs no allocation.
func TestForwardAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	p := newPair(t, 1)
	q := bridged{p.fromLeft.Queues()[0]}
	wire := p.left.Wire("wire")
	frame := tcp(2)
	var b packet.Batch
	verdicts := []source.Verdict{source.Forward, source.Reject}
	turn := func() {
		_ = wire.TrySend(frame)
		_ = wire.TrySend(frame)
		for n := 0; n < 2; n += b.N {
			if err := q.Receive(t.Context(), &b, patience); err != nil {
				t.Fatal(err)
			}
			q.Forward(verdicts[:b.N])
			q.Release()
		}
	}
	sending := testing.AllocsPerRun(100, func() { _ = wire.TrySend(frame); _ = wire.TrySend(frame) })
	for b.N = 1; b.N > 0; {
		if err := q.Receive(t.Context(), &b, 0); err != nil {
			t.Fatal(err)
		}
		q.Release()
	}
	// The goroutine that looks at the link once a second counts as well, so one of several attempts has to do.
	allocs := sending + 1
	for range 10 {
		if allocs = testing.AllocsPerRun(100, turn); allocs <= sending {
			break
		}
	}
	if allocs > sending {
		t.Errorf("%v allocations per turn, of which sending is %v", allocs, sending)
	}
}
