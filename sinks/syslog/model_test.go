package syslog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

var errFault = errors.New("fault")

// world is where faults come from.
type world struct {
	mu    sync.Mutex
	rng   *rand.Rand
	quiet bool // no more faults
}

// one reports whether something happens that happens once in n times.
func (w *world) one(in int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.quiet && w.rng.IntN(in) == 0
}

func (w *world) isQuiet() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.quiet
}

func (w *world) upTo(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n + 1)
}

// destination is a collector in memory that can be away.
type destination struct {
	tb    testing.TB
	world *world
	mu    sync.Mutex
	has   map[event.Seq]bool
}

var _ dialer = (*destination)(nil)

func (d *destination) dial(ctx context.Context, wake func()) (conn, error) {
	t := time.NewTimer(time.Duration(d.world.upTo(d.world.upTo(1500))) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.world.one(3) {
		return nil, errFault
	}
	f := &fakeConn{destination: d, wake: wake, most: 1 + d.world.upTo(d.world.upTo(30)), gone: make(chan struct{})}
	if d.world.one(2) { // it will break by itself, at any time
		after := time.Duration(d.world.upTo(300)) * time.Millisecond
		f.breaking.Go(func() {
			t := time.NewTimer(after)
			defer t.Stop()
			select {
			case <-t.C:
				f.broken.Store(true)
				wake()
			case <-f.gone:
			}
		})
	}
	return f, nil
}

// fakeConn takes messages and acknowledges them when it likes.
type fakeConn struct {
	*destination
	wake     func()
	most     int
	start    int // of the message that is being framed
	framed   uint64
	waiting  []event.Seq // framed, not sent
	got      uint64
	told     uint64
	broken   flag
	breaking sync.WaitGroup
	gone     chan struct{}
	once     sync.Once
	last     event.Seq
}

// flag is a boolean under a lock.
type flag struct {
	mu sync.Mutex
	v  bool
}

func (b *flag) Store(v bool) { b.mu.Lock(); b.v = v; b.mu.Unlock() }
func (b *flag) Load() bool   { b.mu.Lock(); defer b.mu.Unlock(); return b.v }

func (f *fakeConn) head(b []byte, _ event.Kind) []byte {
	f.start = len(b)
	return b
}

func (f *fakeConn) tail(b []byte) ([]byte, uint64) {
	f.framed++
	f.waiting = append(f.waiting, sequenceOf(f.tb, string(b[f.start:])))
	return b, f.framed
}

func (f *fakeConn) position() uint64 { return f.framed }
func (f *fakeConn) limit() int       { return f.most }
func (f *fakeConn) answers() bool    { return true }

func (f *fakeConn) send([]byte) error {
	for len(f.waiting) > 0 {
		if f.broken.Load() || f.world.one(200) {
			f.broken.Store(true)
			return errFault
		}
		seq := f.waiting[0]
		f.waiting = f.waiting[1:]
		if seq <= f.last {
			f.tb.Errorf("record %d behind %d on one connection", seq, f.last)
		}
		f.last = seq
		f.mu.Lock()
		f.has[seq] = true
		f.mu.Unlock()
		f.got++
	}
	return nil
}

func (f *fakeConn) acked() (uint64, error) {
	if f.world.one(500) {
		return 0, errFault
	}
	if f.told += uint64(f.world.upTo(int(min(f.got-f.told, 3)))); f.broken.Load() || f.world.isQuiet() {
		f.told = f.got
	}
	return f.told, nil
}

func (f *fakeConn) changed() <-chan struct{}  { return nil }
func (f *fakeConn) patience() time.Duration   { return time.Minute }
func (f *fakeConn) whileBlocked(func() error) {}
func (f *fakeConn) interrupt()                {}
func (f *fakeConn) peer() peerInfo            { return peerInfo{} }

func (f *fakeConn) failed() error {
	if f.broken.Load() {
		return errFault
	}
	return nil
}

func (f *fakeConn) finish() error {
	f.drop()
	if f.world.one(5) {
		return errFault
	}
	return nil
}

func (f *fakeConn) drop() {
	f.once.Do(func() { close(f.gone) })
	f.breaking.Wait()
}

// TestModel runs the sink over connections that fail in every way at any time, with one and several addresses, in virtual time.
// Whatever is acknowledged is where the strategy says; and when the faults end, everything is.
func TestModel(t *testing.T) {
	const n = 600
	seeds := uint64(60)
	if race.Enabled {
		seeds = 15
	}
	for _, c := range []struct {
		strategy  strategy
		addresses int
	}{{failover, 1}, {failover, 3}, {all, 1}, {all, 2}, {all, 3}} {
		for seed := range seeds {
			synctest.Test(t, func(t *testing.T) {
				w := &world{rng: rand.New(rand.NewPCG(seed, uint64(c.addresses)))}
				var addresses []string
				for i := range c.addresses {
					addresses = append(addresses, fmt.Sprintf("tcp://192.0.2.%d:1", i+1))
				}
				sink := newTestSink(quietTB{t}, fmt.Sprintf("strategy = %q\nsequence = true", c.strategy), addresses...)
				sink.returnAfter = 50 * time.Millisecond
				var all []*destination
				for _, l := range sink.links {
					d := &destination{tb: t, world: w, has: make(map[event.Seq]bool)}
					l.dialer = d
					all = append(all, d)
				}
				s := sinktest.NewStream(t)
				s.SetBatch(1 + int(seed))
				s.Append(numbered(n)...)
				s.Drain()
				for run := 0; ; run++ {
					w.mu.Lock()
					w.quiet = run >= 60
					w.mu.Unlock()
					ctx, cancel := context.WithCancel(t.Context())
					if w.one(4) { // the daemon may end a run at any time, too
						ctx, cancel = context.WithTimeout(t.Context(), time.Duration(w.upTo(2000))*time.Millisecond)
					}
					err := s.Run(ctx, sink)
					cancel()
					where(t, c.strategy, all, s.Acked())
					for _, l := range sink.links {
						if l.up() {
							t.Fatalf("%v, %d, seed %d: a connection outlives its run", c.strategy, c.addresses, seed)
						}
					}
					if err == nil {
						break
					}
					if run > 100 {
						t.Fatalf("%v, %d, seed %d: acknowledged up to %d in %d runs: %v", c.strategy, c.addresses, seed, s.Acked(), run, err)
					}
				}
				if s.Acked() != n {
					t.Fatalf("%v, %d, seed %d: drained, and acknowledged up to %d", c.strategy, c.addresses, seed, s.Acked())
				}
			})
		}
	}
}

// where checks that what is acknowledged is at all addresses, or at one of them.
func where(t *testing.T, s strategy, places []*destination, acked event.Seq) {
	t.Helper()
	for seq := event.Seq(1); seq <= acked; seq++ {
		count := 0
		for _, d := range places {
			if d.has[seq] {
				count++
			}
		}
		if count == 0 || s == all && count < len(places) {
			t.Fatalf("%v: record %d of %d that are acknowledged is at %d of %d addresses", s, seq, acked, count, len(places))
		}
	}
}

// quietTB does not log what the sink warns of.
type quietTB struct{ testing.TB }

func (quietTB) Log(...any) {}
