package afpacket

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// cable returns two hosts with a cable between them: "wire" here, "tap" there.
func cable(t testing.TB) (sender, host *nettest.Host) {
	t.Helper()
	nettest.Require(t)
	sender, host = nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(sender, "wire", host, "tap", 1)
	return sender, host
}

// open opens a source on interfaces of a host: the first has the id 1, and so on.
func open(t testing.TB, h *nettest.Host, c Config, names ...string) *Source {
	t.Helper()
	for i, name := range names {
		c.Interfaces = append(c.Interfaces, Interface{Name: name, ID: uint32(i + 1)})
	}
	c.Workers = max(c.Workers, 1)
	if c.RingSize == 0 {
		c.RingSize = 4 << 20
	}
	if c.SnapLength == 0 {
		c.SnapLength = 256
	}
	var s *Source
	var err error
	h.Do(func() { s, err = Open(c) })
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

// reader reads one queue, as a worker does, and copies what it gets.
type reader struct {
	t     testing.TB
	queue *Queue
	batch packet.Batch
}

func read(t testing.TB, s *Source) *reader { return &reader{t: t, queue: s.Queues()[0]} }

// next returns the frames of the next Receive that has some.
func (r *reader) next() []packet.Frame {
	r.t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		if err := r.queue.Receive(r.t.Context(), &r.batch, patience); err != nil {
			r.t.Fatal(err)
		}
		var frames []packet.Frame
		for _, f := range r.batch.Frames[:r.batch.N] {
			f.Data = bytes.Clone(f.Data)
			frames = append(frames, f)
		}
		r.queue.Release()
		if len(frames) > 0 {
			return frames
		}
	}
	r.t.Fatal("no frames")
	return nil
}

// frames returns at least n frames.
func (r *reader) frames(n int) (frames []packet.Frame) {
	r.t.Helper()
	for len(frames) < n {
		frames = append(frames, r.next()...)
	}
	return frames
}

// collect reads all queues until there are n frames, and returns them in the order of their times.
func collect(t testing.TB, s *Source, n int) []packet.Frame {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	var mu sync.Mutex
	var frames []packet.Frame
	var readers sync.WaitGroup
	for _, q := range s.Queues() {
		readers.Go(func() {
			var b packet.Batch
			for ctx.Err() == nil {
				if err := q.Receive(ctx, &b, -1); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, f := range b.Frames[:b.N] {
					f.Data = bytes.Clone(f.Data)
					frames = append(frames, f)
				}
				if len(frames) >= n {
					done()
				}
				mu.Unlock()
				q.Release()
			}
		})
	}
	readers.Wait()
	if len(frames) < n {
		t.Fatalf("%d of %d frames", len(frames), n)
	}
	slices.SortStableFunc(frames, func(a, b packet.Frame) int { return cmp.Compare(a.Time, b.Time) })
	return frames
}

func numbered(n int) []byte {
	return nettest.UDP{}.Frame(binary.BigEndian.AppendUint32([]byte("number"), uint32(n)))
}

// number returns the number of a frame, -1 if it has none.
func number(frame []byte) int {
	if i := bytes.Index(frame, []byte("number")); i >= 0 && len(frame) >= i+10 {
		return int(binary.BigEndian.Uint32(frame[i+6:]))
	}
	return -1
}

// counter returns a counter of a source, over all queues.
func counter(s *Source, name string) (sum uint64) {
	for _, c := range s.Counters() {
		if c.Name == name {
			sum += c.Value
		}
	}
	return sum
}

// news is what a source warns of.
type news chan struct{}

func (n news) warn(string, ...any) {
	select {
	case n <- struct{}{}:
	default:
	}
}

// wait waits until the state of the first interface is as wanted.
func (n news) wait(t testing.TB, s *Source, what string, wanted func(State) bool) {
	t.Helper()
	n.waitAll(t, s, what, func(states []State) bool { return wanted(states[0]) })
}

// waitAll waits until the states of the interfaces are as wanted. Every change of them is worth a warning.
func (n news) waitAll(t testing.TB, s *Source, what string, wanted func([]State) bool) {
	t.Helper()
	limit := time.After(patience)
	for !wanted(s.States()) {
		select {
		case <-n:
		case <-limit:
			t.Fatalf("not %s: %+v", what, s.States())
		}
	}
}
