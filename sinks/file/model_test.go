package file

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

var errFault = errors.New("fault")

// faulty is a target in memory in which every call may fail. What was synced when it fails is what a disk would have kept.
type faulty struct {
	rng     *rand.Rand
	content []byte
	durable int // bytes that a sync covered
	left    int // bytes that were not durable when the sink turned to another file: no sync can reach them any more
}

func (f *faulty) fails() bool { return f.rng.IntN(10) == 0 }

func (f *faulty) open(time.Time) error {
	if f.fails() {
		return errFault
	}
	return nil
}

func (f *faulty) turn(time.Time, int) func(time.Time) error {
	if f.rng.IntN(5) > 0 {
		return nil
	}
	return func(now time.Time) error {
		f.left += len(f.content) - f.durable
		return f.open(now)
	}
}

func (f *faulty) write(p []byte) (int, error) {
	if f.fails() {
		n := f.rng.IntN(len(p))
		f.content = append(f.content, p[:n]...)
		return n, errFault
	}
	f.content = append(f.content, p...)
	return len(p), nil
}

func (f *faulty) tear(n int, _ []byte) error { return f.cut(int64(n)) }

func (f *faulty) cut(n int64) error {
	f.content = f.content[:len(f.content)-int(n)]
	return nil
}

func (f *faulty) sync() error {
	if f.fails() {
		return errFault
	}
	f.durable = len(f.content)
	return nil
}

func (f *faulty) background() func() { return func() {} }

func (f *faulty) reopen()        {}
func (f *faulty) interrupt()     {}
func (f *faulty) close() error   { return nil }
func (f *faulty) status() Status { return Status{} }

// TestFaults runs the sink over a target that keeps failing, until everything is through: then the content is every record once,
// in order and whole. On the way, what is acknowledged is there, and durable where the mode promises it.
func TestFaults(t *testing.T) {
	enc, err := format.New(format.Options{}) // lines: fewer in a write than a sync waits for
	if err != nil {
		t.Fatal(err)
	}
	const n = 2500 // ten writes
	seeds := uint64(30)
	if testing.Short() {
		seeds = 8
	}
	for _, mode := range []syncMode{syncNone, syncInterval, syncBatch} {
		for seed := range seeds {
			to := &faulty{rng: rand.New(rand.NewPCG(seed, 0))}
			sink := newSink(enc, to, mode, time.Hour)
			s := sinktest.NewStream(t)
			s.SetBatch(int(seed%17)*20 + 1)
			s.Append(sinktest.Records(seed, n)...)
			s.Drain()
			var want []byte
			ends := []int{0}
			for i, r := range sinktest.Records(seed, n) {
				r.SetSeq(event.Seq(i + 1))
				want = append(enc.Append(want, &r, sinktest.Names()), enc.Terminator()...)
				ends = append(ends, len(want))
			}
			for run := 0; ; run++ {
				err := s.Run(t.Context(), sink)
				acked := ends[s.Acked()]
				if len(to.content) != acked || mode != syncNone && to.durable < acked {
					t.Fatalf("mode %d, seed %d, run %d: %d bytes, %d of them durable, %d acknowledged",
						mode, seed, run, len(to.content), to.durable, acked)
				}
				if err == nil {
					break
				}
				if !errors.Is(err, errFault) || run > 10_000 {
					t.Fatalf("mode %d, seed %d, run %d: %v", mode, seed, run, err)
				}
			}
			if mode != syncNone && to.left > 0 {
				t.Fatalf("mode %d, seed %d: turned to another file with %d bytes not synced", mode, seed, to.left)
			}
			if !bytes.Equal(to.content, want) {
				t.Fatalf("mode %d, seed %d: %d bytes, want %d", mode, seed, len(to.content), len(want))
			}
		}
	}
}

// FuzzLastWholeFrame checks that a file's end is found wherever it was torn, and that garbage is told from a tear.
func FuzzLastWholeFrame(f *testing.F) {
	f.Add(uint64(1), 3, 100, []byte(nil))
	f.Add(uint64(2), 0, 7, []byte(nil))
	f.Add(uint64(3), 2000, 0, []byte("garbage that is long enough to be a header"))
	f.Fuzz(func(t *testing.T, seed uint64, n, torn int, garbage []byte) {
		n = max(0, min(n, 5000))
		var whole []byte
		for _, r := range sinktest.Records(seed, n+1) {
			if len(whole) == 0 || n > 0 {
				whole = append(whole, r.Frame()...)
			}
		}
		last := sinktest.Record(event.PolicyDeny, seed)
		torn = max(0, min(torn, len(last.Frame())-1))
		got, err := lastWholeFrame(bytes.NewReader(append(bytes.Clone(whole), last.Frame()[:torn]...)))
		if err != nil || got != int64(len(whole)) {
			t.Fatalf("%d, %v, want %d", got, err, len(whole))
		}
		got, err = lastWholeFrame(bytes.NewReader(append(bytes.Clone(whole), garbage...)))
		var foreign *event.FrameError
		if err != nil && !errors.As(err, &foreign) || got < int64(len(whole)) || got > int64(len(whole)+len(garbage)) {
			t.Fatalf("%d, %v with garbage behind %d", got, err, len(whole))
		}
	})
}
