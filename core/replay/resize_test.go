package replay

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

// ceilings are what of the model's limits moves, and the sizes of its stores.
type ceilings struct {
	announce int
	perKind  [numClasses]int
	size     int // of the store
	from     int // the first position in it
	former   int // size of the store before; 0: there is none
}

func ceilingsOf(l Limits) ceilings {
	c := ceilings{announce: announcements(l), size: l.Slots, from: 1}
	for i := range c.perKind {
		c.perKind[i] = l.PerKind
	}
	return c
}

func randomLimits(rng *rand.Rand) Limits {
	l := Limits{Slots: 1 << (2 + rng.IntN(7))}
	l.Telemetry = 1 + rng.IntN(l.Slots-1)
	l.PerKind = 1 + rng.IntN(l.Telemetry)
	return l
}

func settled(r *Ring) bool {
	_, settled := r.Limits()
	return settled
}

// settle moves the ceilings as far as what is in use allows.
func (m *model) settle() {
	follow := func(ceiling *int, use, to int) {
		*ceiling = max(to, min(*ceiling, use))
	}
	announced := m.is(Announcement)
	if m.owes() {
		announced++
	}
	follow(&m.announce, announced, announcements(m.target))
	follow(&m.limits.Telemetry, m.of(Class.Telemetry), m.target.Telemetry)
	for c := firstTelemetry; c < numClasses; c++ {
		follow(&m.perKind[c], m.is(c), m.target.PerKind)
	}
	if int(m.next)-len(m.held) >= m.from {
		m.former = 0
	}
	fits := min(m.target.Slots, m.size)
	follow(&m.limits.Slots, m.inFlight(), fits)
	if m.target.Slots == m.size || m.limits.Slots != fits || m.former != 0 {
		return
	}
	if len(m.held) > 0 {
		m.former = m.size
	}
	m.size, m.from, m.limits.Slots = m.target.Slots, int(m.next), m.target.Slots
}

func (m *model) settled() bool {
	for c := firstTelemetry; c < numClasses; c++ {
		if m.perKind[c] != m.target.PerKind {
			return false
		}
	}
	return m.announce == announcements(m.target) && m.limits.Telemetry == m.target.Telemetry && m.limits.Slots == m.target.Slots && m.size == m.target.Slots
}

// TestP1P5Resize resizes a ring up and down while workers append to it and its sink acknowledges: every record that went in comes out,
// once, in order and as it was.
func TestP1P5Resize(t *testing.T) {
	const workers, each, resizes = 3, 30_000, 400
	r, err := New(Limits{Slots: 64, Telemetry: 32, PerKind: 16})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var put atomic.Int64
	stop := make(chan struct{})
	for w := range workers {
		wg.Go(func() {
			var rec event.Record
			rec.Reset(event.SessionOpen)
			for i := range each {
				for r.Acquire(Priority, 1) == 0 {
					room := r.Room()
					if r.Acquire(Priority, 1) == 1 {
						break
					}
					<-room
				}
				rec.SetTime(int64(w)<<32 | int64(i))
				r.Put(r.Claim(1), Priority, &rec)
				r.Wake()
				put.Add(1)
			}
		})
	}
	go func() {
		wg.Wait()
		r.Drain()
	}()
	resized := make(chan int, 1)
	go func() {
		rng := rand.New(rand.NewPCG(1, 2))
		n := 0
		defer func() { resized <- n }()
		for n < resizes {
			select {
			case <-stop:
				return
			default:
			}
			if err := r.Resize(randomLimits(rng)); err != nil {
				t.Error(err)
			}
			n++
		}
	}()
	var last [workers]int64
	for i := range last {
		last[i] = -1
	}
	next := event.Seq(1)
	for {
		run := r.Next(50)
		if run == nil {
			if r.Drained() {
				break
			}
			if wake, ok := r.Sleep(); ok {
				<-wake
			}
			continue
		}
		for i := range run {
			w, n := run[i].Time()>>32, run[i].Time()&0xffffffff
			if run[i].Seq() != next || n != last[w]+1 {
				t.Fatalf("number %d: %d of worker %d after %d, want number %d", run[i].Seq(), n, w, last[w], next)
			}
			last[w] = n
			next++
		}
		if err := r.Ack(next - 1); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if n := <-resized; n == 0 {
		t.Error("never resized")
	}
	if err := r.Resize(Limits{Slots: 16, Telemetry: 8, PerKind: 4}); err != nil {
		t.Fatal(err)
	}
	if all, _ := r.Credits(); all != 0 || !settled(r) || r.Acquire(Priority, 100) != 16 {
		t.Errorf("%d credits in use at the end; settled: %v", all, settled(r))
	}
	if put.Load() != workers*each || int(next) != workers*each+1 {
		t.Errorf("%d put, %d read", put.Load(), next-1)
	}
}

// TestResizeWaitsForRoom shrinks a ring that holds more than it is to have, and loses nothing of it.
func TestResizeWaitsForRoom(t *testing.T) {
	r, err := New(Limits{Slots: 16, Telemetry: 8, PerKind: 8})
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int) {
		t.Helper()
		if got := r.Acquire(Priority, n); got != n {
			t.Fatalf("%d credits of %d", got, n)
		}
		var rec event.Record
		for range n {
			rec.Reset(event.SessionOpen)
			r.Put(r.Claim(1), Priority, &rec)
		}
	}
	put(10)
	if err := r.Resize(Limits{Slots: 4, Telemetry: 2, PerKind: 2}); err != nil {
		t.Fatal(err)
	}
	if r.Acquire(Priority, 1) != 0 || settled(r) {
		t.Error("a ring that holds too many is not full")
	}
	if r.AcquireEvicting(Priority, 1) != 1 || r.Released().Evicted[event.SessionOpen] != 2 {
		t.Errorf("for a record, and for the loss record that says so, %d were given up", r.Released().Evicted[event.SessionOpen])
	}
	r.ReturnCredits(Priority, 1)
	if got := len(r.Next(100)); got != 9 {
		t.Fatalf("%d records left", got)
	}
	if err := r.Ack(5); err != nil || settled(r) || r.Acquire(Priority, 1) != 0 {
		t.Errorf("settled with 5 in flight: %v, %v", settled(r), err)
	}
	if err := r.Ack(7); err != nil || !settled(r) || r.Acquire(Priority, 9) != 1 {
		t.Errorf("settled: %v, %v", settled(r), err)
	}
	if r.Resize(Limits{Slots: 5, Telemetry: 2, PerKind: 2}) == nil || r.Resize(Limits{Slots: 8, Telemetry: 8, PerKind: 2}) == nil {
		t.Error("impossible limits are taken")
	}
}
