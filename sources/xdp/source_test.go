package xdp

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/xsk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frameSource is what a worker asks of a queue.
type frameSource interface {
	Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error
	Release()
}

var _ frameSource = (*Queue)(nil)

const patience = 30 * time.Second

func cable(t testing.TB, queues int) (sender, tap *nettest.Host) {
	t.Helper()
	nettest.Require(t)
	sender, tap = nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(sender, "wire", tap, "tap", queues)
	return sender, tap
}

func open(t testing.TB, h *nettest.Host, config Config) *Source {
	t.Helper()
	var s *Source
	h.Do(func() { s = openHere(t, config) })
	if s == nil {
		t.FailNow()
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// openHere opens a source of the present namespace; nil if it fails.
func openHere(t testing.TB, config Config) *Source {
	t.Helper()
	config.Device.Interface = "tap"
	if config.Device.Frames == 0 {
		config.Device.Frames = 256
	}
	s, err := Open(t.Context(), config)
	if err != nil {
		t.Error(err)
		return nil
	}
	return s
}

// workers reads all queues of a source, each in a goroutine of its own, as workers do.
type workers struct {
	t      testing.TB
	frames chan received
	stop   func()
}

type received struct {
	queue     int
	number    int
	wire      int
	device    uint32
	time      int64
	now, wall int64
}

func work(t testing.TB, s *Source) *workers {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &workers{t: t, frames: make(chan received, 1<<16)}
	var running sync.WaitGroup
	for i, q := range s.Queues() {
		running.Go(func() {
			var b packet.Batch
			for ctx.Err() == nil {
				if err := q.Receive(ctx, &b, time.Minute); err != nil {
					if err != io.EOF {
						t.Errorf("queue %d: %v", i, err)
					}
					return
				}
				for _, f := range b.Frames[:b.N] {
					w.frames <- received{i, number(f.Data), f.Wire, f.Interface, f.Time, b.Now, b.Wall}
				}
				q.Release()
			}
		})
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(w.stop)
	return w
}

// next returns the next frame.
func (w *workers) next() received {
	w.t.Helper()
	select {
	case f := <-w.frames:
		return f
	case <-time.After(patience):
		w.t.Fatal("no frame")
		return received{}
	}
}

// receiveAny receives at least one frame. Receive may return without any before its time is over.
func receiveAny(t testing.TB, q *Queue, b *packet.Batch) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err := q.Receive(t.Context(), b, patience); err != nil {
			t.Fatal(err)
		}
		if b.N > 0 {
			return
		}
	}
	t.Fatal("no frame")
}

func numbered(n, port int) []byte {
	u := nettest.UDP{SourcePort: uint16(1024 + port)}
	return u.Frame(binary.BigEndian.AppendUint32([]byte("number"), uint32(n)))
}

func number(frame []byte) int {
	if i := strings.Index(string(frame), "number"); i >= 0 && len(frame) >= i+10 {
		return int(binary.BigEndian.Uint32(frame[i+6:]))
	}
	return -1
}

// conditions returns a Warn function and a wait for a state: the source tells when something has changed.
func conditions(t testing.TB) (warn func(string, ...any), wait func(s *Source, what string, good func(State) bool)) {
	told := make(chan struct{}, 1)
	warn = func(string, ...any) {
		select {
		case told <- struct{}{}:
		default:
		}
	}
	return warn, func(s *Source, what string, good func(State) bool) {
		t.Helper()
		limit := time.After(patience)
		tick := time.NewTicker(time.Millisecond) // not everything is told
		defer tick.Stop()
		for !good(s.State()) {
			select {
			case <-told:
			case <-tick.C:
			case <-limit:
				t.Fatalf("not %s: %+v", what, s.State())
			}
		}
	}
}

func TestFrames(t *testing.T) {
	sender, tap := cable(t, 2)
	s := open(t, tap, Config{ID: 77})
	w := work(t, s)
	const frames = 200
	wire := sender.Wire("wire")
	before := time.Now().UnixNano()
	for n := range frames {
		wire.Send(numbered(n, n))
	}
	seen := make(map[int]bool)
	queues := make(map[int]int)
	last := make(map[int]int64)
	for range frames {
		f := w.next()
		seen[f.number] = true
		queues[f.queue]++
		if f.device != 77 || f.time != f.now || f.time < last[f.queue] {
			t.Fatalf("frame %+v after %d", f, last[f.queue])
		}
		last[f.queue] = f.time
		if f.wall < before || f.wall > time.Now().UnixNano() {
			t.Fatalf("wall clock %d, sent at %d", f.wall, before)
		}
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			t.Fatal(err)
		}
		if late := now.Nano() - f.now; late < -int64(time.Millisecond) || late > int64(patience) {
			t.Fatalf("the batch is %d ns old on the monotonic clock", late)
		}
	}
	if len(seen) != frames || seen[-1] || len(queues) != 2 {
		t.Errorf("%d different frames over queues %v", len(seen), queues)
	}
	stats, err := s.Stats()
	if err != nil || stats.Program.Redirected != frames || stats.Queues[0].Received+stats.Queues[1].Received != frames {
		t.Errorf("statistics %+v, %v", stats, err)
	}
	state := s.State()
	if state.Condition != Up || state.Mode != "native" || state.Queues != 2 || state.Index == 0 || state.MTU != 1500 || state.Since.IsZero() {
		t.Errorf("state %+v", state)
	}
}

func TestKernelIndex(t *testing.T) {
	sender, tap := cable(t, 1)
	w := work(t, open(t, tap, Config{}))
	sender.Wire("wire").Send(numbered(1, 1))
	if f := w.next(); int(f.device) != tap.Link("tap").Attrs().Index {
		t.Errorf("frame of interface %d", f.device)
	}
}

func TestMissingInterface(t *testing.T) {
	nettest.Require(t)
	h := nettest.NewHost(t)
	var err error
	h.Do(func() { _, err = Open(t.Context(), Config{Device: xsk.Config{Interface: "nowhere"}}) })
	if !errors.Is(err, xsk.ErrInterfaceMissing) {
		t.Errorf("got %v", err)
	}
}

// The interface is deleted and made again under the workers; nothing is restarted by hand, and no count is lost.
func TestInterfaceComesBack(t *testing.T) {
	sender, tap := cable(t, 2)
	warn, wait := conditions(t)
	s := open(t, tap, Config{ID: 5, Warn: warn})
	w := work(t, s)
	const rounds = 3
	for round := range rounds {
		sender.Wire("wire").Send(numbered(round, round))
		if f := w.next(); f.number != round || f.device != 5 {
			t.Fatalf("round %d: frame %+v", round, f)
		}
		tap.Delete("tap")
		wait(s, "waiting", func(st State) bool { return st.Condition == Waiting && st.Error != "" })
		nettest.Cable(sender, "wire", tap, "tap", 2)
		wait(s, "up again", func(st State) bool { return st.Condition == Up && st.Reopened == uint64(round+1) })
	}
	stats, err := s.Stats()
	if err != nil || stats.Program.Redirected != rounds || stats.Queues[0].Received+stats.Queues[1].Received != rounds {
		t.Errorf("statistics %+v, %v", stats, err)
	}
}

func TestClosedWhileWaiting(t *testing.T) {
	_, tap := cable(t, 1)
	warn, wait := conditions(t)
	s := open(t, tap, Config{Warn: warn})
	tap.Delete("tap")
	wait(s, "waiting", func(st State) bool { return st.Condition == Waiting })
	q := s.Queues()[0]
	var b packet.Batch
	if err := q.Receive(t.Context(), &b, time.Millisecond); err != nil || b.N != 0 || b.Now == 0 {
		t.Errorf("while waiting: %d frames, %v", b.N, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- q.Receive(ctx, &b, -1) }()
	cancel()
	if err := <-done; err != nil || b.N != 0 {
		t.Errorf("cancelled while waiting: %d frames, %v", b.N, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := q.Receive(t.Context(), &b, -1); err != io.EOF {
		t.Errorf("after close: %v", err)
	}
	q.Release()
}

func TestDownAndUp(t *testing.T) {
	sender, tap := cable(t, 1)
	warn, wait := conditions(t)
	s := open(t, tap, Config{Warn: warn})
	w := work(t, s)
	for n := range 3 {
		tap.SetDown("tap")
		wait(s, "down", func(st State) bool { return st.Condition == Down })
		tap.SetUp("tap")
		wait(s, "up", func(st State) bool { return st.Condition == Up })
		sender.Wire("wire").Send(numbered(n, 1))
		if f := w.next(); f.number != n {
			t.Fatalf("frame %+v", f)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		link := tap.Link(from)
		tap.Do(func() {
			if err := netlink.LinkSetName(link, to); err != nil {
				t.Fatal(err)
			}
		})
	}
	rename("tap", "other")
	wait(s, "renamed", func(st State) bool { return st.Renamed == "other" && st.Interface == "tap" && st.Condition == Up })
	sender.Wire("wire").Send(numbered(3, 1))
	if f := w.next(); f.number != 3 {
		t.Fatalf("frame %+v", f)
	}
	rename("other", "tap")
	wait(s, "named as before", func(st State) bool { return st.Renamed == "" })
	if n := s.State().Reopened; n != 0 {
		t.Errorf("opened again %d times, for nothing", n)
	}
}

func TestLargerMTU(t *testing.T) {
	sender, tap := cable(t, 1)
	warn, wait := conditions(t)
	s := open(t, tap, Config{Warn: warn})
	w := work(t, s)
	sender.SetMTU("wire", 3000)
	tap.SetMTU("tap", 3000)
	wait(s, "with larger frames", func(st State) bool { return st.Reopened == 1 && st.FrameSize == 4096 })
	payload := append(make([]byte, 2500), "number"...)
	payload = binary.BigEndian.AppendUint32(payload, 8)
	sender.Wire("wire").Send(nettest.UDP{}.Frame(payload))
	if f := w.next(); f.number != 8 {
		t.Errorf("frame %+v", f)
	}

	// What no buffer holds takes several.
	sender.SetMTU("wire", 3500)
	tap.SetMTU("tap", 9000)
	wait(s, "with several buffers", func(st State) bool { return st.Reopened == 2 && st.MTU == 9000 && len(st.Notes) > 0 })
	sender.SetMTU("wire", 9000)
	frame := nettest.UDP{}.Frame(append(binary.BigEndian.AppendUint32([]byte("number"), 9), make([]byte, 8900)...))
	sender.Wire("wire").Send(frame)
	if f := w.next(); f.number != 9 || f.wire != len(frame) {
		t.Errorf("frame %+v of %d bytes", f, len(frame))
	}
}

// A running source goes on with the buffers that it has when its MTU is raised above what any could take, and when the interface is
// made again with such an MTU.
func TestMTUBecomesTooLarge(t *testing.T) {
	sender, tap := cable(t, 1)
	warn, wait := conditions(t)
	const mtu = 40000 // a packet sent is spread over 17 buffers at most
	s := open(t, tap, Config{Warn: warn, Device: xsk.Config{Attach: xsk.Generic, Bridge: true, FrameSize: 2048}})
	w := work(t, s)
	large := func() {
		sender.SetMTU("wire", mtu)
		tap.SetMTU("tap", mtu)
	}
	large()
	wait(s, "told of the MTU", func(st State) bool { return st.MTU == mtu })
	st := s.State()
	if st.Condition != Up || st.Reopened != 0 || st.FrameSize != 2048 || !slices.ContainsFunc(st.Notes, func(n string) bool { return strings.Contains(n, "MTU of tap is 40000") }) {
		t.Errorf("%+v", st)
	}
	sender.Wire("wire").Send(nettest.UDP{}.Frame(binary.BigEndian.AppendUint32([]byte("number"), 8)))
	if f := w.next(); f.number != 8 {
		t.Errorf("frame %+v", f)
	}

	tap.Delete("tap")
	nettest.Cable(sender, "wire", tap, "tap", 1)
	large()
	wait(s, "open again", func(st State) bool { return st.Reopened > 0 && st.Condition == Up && st.MTU == mtu })
	sender.Wire("wire").Send(nettest.UDP{}.Frame(binary.BigEndian.AppendUint32([]byte("number"), 9)))
	if f := w.next(); f.number != 9 {
		t.Errorf("frame %+v", f)
	}
}

// Two workers go on when there are four queues, and when there is one.
func TestQueueCountChanges(t *testing.T) {
	sender, tap := cable(t, 4)
	sender.Run("ethtool", "-L", "wire", "tx", "2")
	tap.Run("ethtool", "-L", "tap", "rx", "2")
	warn, wait := conditions(t)
	s := open(t, tap, Config{Warn: warn})
	if n := len(s.Queues()); n != 2 {
		t.Fatalf("%d queues", n)
	}
	w := work(t, s)
	for _, queues := range []int{4, 1} {
		if queues == 1 { // an open interface keeps its queues
			tap.Delete("tap")
			nettest.Cable(sender, "wire", tap, "tap", 1)
		} else {
			tap.Run("ethtool", "-L", "tap", "rx", "4")
			wait(s, "of four queues", func(st State) bool { return st.Queues == 4 })
			sender.Run("ethtool", "-L", "wire", "tx", "4")
		}
		wait(s, "of the new number of queues", func(st State) bool { return st.Queues == queues && st.Condition == Up })
		const frames = 200
		wire := sender.Wire("wire")
		for n := range frames {
			wire.Send(numbered(n, n))
		}
		seen := make(map[int]bool)
		for range frames {
			seen[w.next().number] = true
		}
		if len(seen) != frames {
			t.Errorf("%d queues: %d different frames", queues, len(seen))
		}
	}
	w.stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	stats, err := s.Stats()
	if err != nil || len(stats.Queues) != 4 || stats.Program.Redirected != 400 {
		t.Fatalf("statistics %+v, %v", stats, err)
	}
	if stats.Queues[2].Received+stats.Queues[3].Received == 0 {
		t.Error("queues 2 and 3 brought nothing")
	}
	if st := s.State(); st.Condition != Closed {
		t.Errorf("state %+v", st)
	}
}

func TestCancelInterrupts(t *testing.T) {
	_, tap := cable(t, 1)
	q := open(t, tap, Config{}).Queues()[0]
	var b packet.Batch
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Receive(ctx, &b, -1) }()
		runtime.Gosched()
		cancel()
		select {
		case err := <-done:
			if err != nil || b.N != 0 {
				t.Fatalf("%d frames, %v", b.N, err)
			}
		case <-time.After(patience):
			t.Fatal("the worker was not woken")
		}
	}
}

func TestTimeout(t *testing.T) {
	_, tap := cable(t, 1)
	q := open(t, tap, Config{}).Queues()[0]
	var b packet.Batch
	start := time.Now()
	for time.Since(start) < 20*time.Millisecond { // a wait may end early
		if err := q.Receive(t.Context(), &b, 20*time.Millisecond); err != nil || b.N != 0 {
			t.Fatalf("%d frames, %v", b.N, err)
		}
	}
	before := b.Now
	if err := q.Receive(t.Context(), &b, 0); err != nil || b.Now < before || b.Now-before > int64(patience) {
		t.Errorf("from %d to %d, %v", before, b.Now, err)
	}
}

// Close does not take the frames away from under a worker.
func TestCloseWaitsForFrames(t *testing.T) {
	sender, tap := cable(t, 1)
	s := open(t, tap, Config{})
	q := s.Queues()[0]
	sender.Wire("wire").Send(numbered(3, 1))
	var b packet.Batch
	receiveAny(t, q, &b)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-s.stopped
	if number(b.Frames[0].Data) != 3 {
		t.Error("the frame is gone")
	}
	select {
	case <-closed:
		t.Fatal("closed under a worker")
	default:
	}
	q.Release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := q.Receive(t.Context(), &b, -1); err != io.EOF {
		t.Errorf("after close: %v", err)
	}
}

func TestOpenLeaksNothing(t *testing.T) {
	_, tap := cable(t, 1)
	cycle := func() {
		s := open(t, tap, Config{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	cycle()
	before := count()
	for range 10 {
		cycle()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
