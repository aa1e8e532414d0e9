package replay

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

func newRing(t testing.TB, l Limits) *Ring {
	t.Helper()
	r, err := New(l)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// put appends one record of the kind and reports whether there was a credit for it.
func put(r *Ring, k event.Kind) bool {
	if r.Acquire(ClassOf(k), 1) == 0 {
		return false
	}
	var rec event.Record
	rec.Reset(k)
	r.Put(r.Claim(1), ClassOf(k), &rec)
	return true
}

// TestHistoricBudgetReturnsBeforeAck pins a bug of an earlier design: its budget came back when a frame moved from the
// queue to the write buffer, so that more was in flight than the limit said. Here a credit is in use until the
// acknowledgement, wherever the record is: unread, lent, sent, or rewound.
func TestHistoricBudgetReturnsBeforeAck(t *testing.T) {
	r := newRing(t, Limits{Slots: 8, Telemetry: 2, PerKind: 2})
	if !put(r, event.PolicyDeny) || !put(r, event.PolicyDeny) {
		t.Fatal("records within the budget refused")
	}
	refused := func(where string) {
		t.Helper()
		if put(r, event.PolicyDeny) {
			t.Fatalf("a record was admitted beyond the budget: the credit came back while the records were %s", where)
		}
	}
	refused("unread")
	if n := len(r.Next(10)); n != 2 {
		t.Fatalf("read %d records, want 2", n)
	}
	refused("lent to the sink")
	if n := len(r.Next(10)); n != 0 {
		t.Fatalf("read %d records, want none", n)
	}
	refused("sent and not acknowledged")
	r.Rewind()
	refused("rewound")
	r.Next(10)
	if err := r.Ack(1); err != nil {
		t.Fatal(err)
	}
	if !put(r, event.PolicyDeny) {
		t.Fatal("the credit did not come back with the acknowledgement")
	}
	refused("partly acknowledged")
}

// TestHistoricTelemetryDisplacesSession pins the other one: telemetry pushed unacknowledged session records out of a
// replay buffer of another size. Here a storm of all telemetry kinds, refused or evicting, leaves every session record.
func TestHistoricTelemetryDisplacesSession(t *testing.T) {
	r := newRing(t, Limits{Slots: 16, Telemetry: 8, PerKind: 3})
	for range 4 {
		if !put(r, event.SessionOpen) {
			t.Fatal("session record refused by an empty ring")
		}
	}
	r.Next(4) // sent, not acknowledged
	r.Rewind()
	for i := range 1000 {
		k := event.Kind(int(event.PolicyDeny) + i%3)
		if n := r.AcquireEvicting(ClassOf(k), 1); n == 1 {
			var rec event.Record
			rec.Reset(k)
			r.Put(r.Claim(1), ClassOf(k), &rec)
		}
	}
	for range 3 { // one slot says what was evicted
		if !put(r, event.SessionClose) {
			t.Fatal("session record refused although telemetry may fill only half of the ring")
		}
	}
	if got := r.State().InFlight; got[event.SessionOpen] != 4 || got[event.SessionClose] != 3 {
		t.Fatalf("in flight after the storm: %v, want 4 session opens and 3 closes", got)
	}
	if ev := r.State().Released.Evicted; ev[event.SessionOpen] != 0 || ev[event.SessionClose] != 0 {
		t.Fatalf("telemetry evicted session records: %v", ev)
	}
}

// TestEvictionAnnouncesTheGap reads a ring after evictions: a loss record stands at the end of the gap and counts it.
func TestEvictionAnnouncesTheGap(t *testing.T) {
	r := newRing(t, Limits{Slots: 8, Telemetry: 4, PerKind: 4})
	var rec event.Record
	for i := range 10 {
		if r.AcquireEvicting(PolicyDeny, 1) != 1 {
			t.Fatalf("record %d refused by an evicting ring of telemetry", i)
		}
		rec.Reset(event.PolicyDeny)
		rec.SetTime(int64(100 + i))
		r.Put(r.Claim(1), PolicyDeny, &rec)
	}
	run := r.Next(100)
	if len(run) == 0 || run[0].Kind() != event.Loss {
		t.Fatalf("the stream after an eviction does not begin with a loss record: %d records", len(run))
	}
	loss := &run[0]
	gap := uint64(loss.Seq()) // 1 to gap are gone, and gap itself is the loss record's number
	if got := loss.LossCounts(); run[1].Seq() != loss.Seq()+1 || got[event.PolicyDeny] != gap || got.Total() != gap {
		t.Errorf("loss record %d counts %v before %d, want %d denials", loss.Seq(), got, run[1].Seq(), gap)
	}
	if loss.LossReason() != event.LossEvicted || loss.LossSince() != 100 || loss.Time() != 100+int64(gap)-1 {
		t.Errorf("loss record says %v from %d to %d", loss.LossReason(), loss.LossSince(), loss.Time())
	}
	if ev := r.State().Released.Evicted[event.PolicyDeny]; ev != gap {
		t.Errorf("%d evicted, want %d", ev, gap)
	}
}

// TestEvictionSparesWhatTheSinkHas checks that records which were handed out are not evicted before the run ends: they may
// have arrived, and counting them as lost would be untrue.
func TestEvictionSparesWhatTheSinkHas(t *testing.T) {
	r := newRing(t, Limits{Slots: 8, Telemetry: 4, PerKind: 4})
	for range 4 {
		put(r, event.ScreenDrop)
	}
	run := r.Next(2)
	r.Next(2)
	if r.AcquireEvicting(ScreenDrop, 1) != 0 {
		t.Fatal("evicted while the sink's run has every record")
	}
	for i := range run {
		if run[i].Kind() != event.ScreenDrop || run[i].Seq() != event.Seq(i+1) {
			t.Fatalf("lent record %d became %v %d", i, run[i].Kind(), run[i].Seq())
		}
	}
	r.Rewind()
	if r.AcquireEvicting(ScreenDrop, 1) != 0 {
		t.Fatal("telemetry has evicted what the sink has had")
	}
	for range 4 {
		put(r, event.SessionOpen)
	}
	if r.AcquireEvicting(Priority, 1) != 1 {
		t.Fatal("a session record refused although the run has ended and nothing was acknowledged")
	}
}

// TestRuns appends runs that are published in another order than claimed, longer than what is read at once, and around the end of the
// slots.
func TestRuns(t *testing.T) {
	r := newRing(t, Limits{Slots: 16, Telemetry: 8, PerKind: 8})
	begin := func(n int) Run {
		if got := r.Acquire(Priority, n); got != n {
			t.Fatalf("%d credits of %d", got, n)
		}
		return r.Begin(n)
	}
	fill := func(w Run) {
		for i := range w.n {
			rec := w.Slot(i)
			rec.Reset(event.SessionOpen)
			w.Made(i, rec, Priority)
		}
	}
	read := func(limit int, want ...event.Seq) {
		t.Helper()
		var got []event.Seq
		for _, rec := range r.Next(limit) {
			got = append(got, rec.Seq())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("read %v, want %v", got, want)
		}
	}
	first, second, third := begin(5), begin(4), begin(1)
	fill(second)
	second.Publish()
	fill(first)
	read(16)
	if got := r.State().InFlight; got != [event.NumKinds]uint64{} {
		t.Errorf("%v in flight before the first run is published", got)
	}
	first.Publish()
	read(3, 1, 2, 3)
	read(3, 4, 5, 6)
	if err := r.Ack(2); err != nil {
		t.Fatal(err)
	}
	r.Rewind()
	read(4, 3, 4, 5, 6)
	read(16, 7, 8, 9)
	if _, ok := r.Sleep(); !ok {
		t.Error("something to read while the next run is not published")
	}
	fill(third)
	third.Publish()
	read(16, 10)
	if err := r.Ack(10); err != nil {
		t.Fatal(err)
	}
	around := begin(12)
	fill(around)
	read(16)
	around.Publish()
	read(16, 11, 12, 13, 14, 15)
	read(16, 16, 17, 18, 19, 20, 21, 22)
	read(16)
	if got := r.State().InFlight[event.SessionOpen]; got != 12 {
		t.Errorf("%d in flight, want 12", got)
	}
}

// TestRunsRandom appends runs of up to the whole ring and publishes them in any order, many times around the slots: what can be read is
// always what is published without a gap, whatever was published in the same slots before.
func TestRunsRandom(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 5))
		slots := 2 << rng.IntN(4)
		r := newRing(t, Limits{Slots: slots, Telemetry: 1, PerKind: 1})
		var claimed []Run // not published
		published := make(map[uint64]bool)
		sent, acked := uint64(1), uint64(0) // next to read; last that is acknowledged
		for step := range 1000 {
			switch rng.IntN(4) {
			case 0:
				if n := r.Acquire(Priority, 1+rng.IntN(slots)); n > 0 {
					claimed = append(claimed, r.Begin(n))
				}
			case 1:
				if len(claimed) == 0 {
					continue
				}
				i := rng.IntN(len(claimed))
				w := claimed[i]
				claimed = slices.Delete(claimed, i, i+1)
				for j := range w.n {
					rec := w.Slot(j)
					rec.Reset(event.SessionOpen)
					w.Made(j, rec, Priority)
					published[w.first+uint64(j)] = true
				}
				w.Publish()
			case 2:
				limit := 1 + rng.IntN(slots)
				run := r.Next(limit)
				for i := range run {
					if p := sent + uint64(i); !published[p] || run[i].Seq() != event.Seq(p) {
						t.Fatalf("seed %d, step %d: read %d at position %d, published: %v", seed, step, run[i].Seq(), p, published[p])
					}
				}
				sent += uint64(len(run))
				if around := sent%uint64(slots) == 0; published[sent] && len(run) < limit && !around {
					t.Fatalf("seed %d, step %d: %d read, and not %d", seed, step, len(run), sent)
				}
			default:
				if acked+1 < sent {
					acked += 1 + rng.Uint64N(sent-acked-1)
				}
				if err := r.Ack(event.Seq(acked)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestClosedWhileResized gives up a ring whose records, which nobody has read, are in the memory that it had before: a reader that looks
// once more finds nothing.
func TestClosedWhileResized(t *testing.T) {
	r := newRing(t, Limits{Slots: 16, Telemetry: 8, PerKind: 8})
	var rec event.Record
	rec.Reset(event.SessionOpen)
	for range 5 {
		if r.Acquire(Priority, 1) == 1 {
			r.Put(r.Claim(1), Priority, &rec)
		}
	}
	if err := r.Resize(Limits{Slots: 32, Telemetry: 8, PerKind: 8}); err != nil {
		t.Fatal(err)
	}
	r.Abandon()
	if got := r.Next(8); got != nil {
		t.Errorf("%d records to read", len(got))
	}
	if _, sleeps := r.Sleep(); sleeps {
		t.Error("the reader is to wait for more")
	}
	if st := r.State(); st.InFlight != [event.NumKinds]uint64{} {
		t.Errorf("%v in flight", st.InFlight)
	}
}

// TestP2P6Concurrent has workers append, evicting or not, while a sink reads, acknowledges and rewinds.
func TestP2P6Concurrent(t *testing.T) {
	for _, evict := range []bool{false, true} {
		l := Limits{Slots: 64, Telemetry: 32, PerKind: 16}
		r := newRing(t, l)
		const workers, each = 3, 20000
		var wg sync.WaitGroup
		var admitted [workers][event.NumKinds]uint64
		for w := range workers {
			wg.Go(func() {
				var rec event.Record
				for i := range each {
					k := event.Kind((i + w) % event.NumKinds)
					got := 0
					if evict {
						got = r.AcquireEvicting(ClassOf(k), 2)
					} else {
						got = r.Acquire(ClassOf(k), 2)
					}
					if got > 0 && i%2 == 0 {
						run := r.Begin(got)
						for j := range got {
							rec := run.Slot(j)
							rec.Reset(k)
							rec.SetTime(int64(run.first) + int64(j))
							run.Made(j, rec, ClassOf(k))
						}
						run.Publish()
					} else {
						pos := r.Claim(got)
						for j := range got {
							rec.Reset(k)
							rec.SetTime(int64(pos) + int64(j))
							r.Put(pos+event.Seq(j), ClassOf(k), &rec)
						}
					}
					admitted[w][k] += uint64(got)
					r.Wake()
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); r.Drain(); close(done) }()
		var last event.Seq
		for i := 0; ; i++ {
			run := r.Next(7)
			for j := range run {
				s := run[j].Seq()
				if s != last+1 && !evict || s <= last {
					t.Fatalf("read %d after %d", s, last)
				}
				// Time is the number at which it was written: an eviction may have given it a later one.
				if k, at := run[j].Kind(), run[j].Time(); k != event.Loss && (at > int64(s) || at != int64(s) && !evict) {
					t.Fatalf("record %d was written for position %d", s, run[j].Time())
				}
				last = s
			}
			if all, tel := r.Credits(); all > l.Slots || tel > l.Telemetry {
				t.Fatalf("%d and %d credits in use", all, tel)
			}
			switch {
			case i%97 == 96:
				r.Rewind()
				last = r.Floor() - 1
			case last > 0 && i%3 == 0:
				if err := r.Ack(last); err != nil {
					t.Fatal(err)
				}
			}
			if run == nil {
				if r.Drained() {
					break
				}
				if wake, ok := r.Sleep(); ok {
					<-wake
				}
			}
		}
		<-done
		if err := r.Ack(last); err != nil {
			t.Fatal(err)
		}
		var want [event.NumKinds]uint64
		for _, a := range admitted {
			for k, n := range a {
				want[k] += n
			}
		}
		s := r.State()
		want[event.Loss] += s.Released.Announced
		for k, n := range want {
			if got := s.Released.Acknowledged[k] + s.Released.Evicted[k]; got != n || s.InFlight[k] != 0 {
				t.Errorf("evict=%v %v: %d queued, %d released, %d in flight", evict, event.Kind(k), n, got, s.InFlight[k])
			}
		}
		if all, tel := r.Credits(); all != 0 || tel != 0 {
			t.Errorf("evict=%v: credits at rest %d, %d", evict, all, tel)
		}
	}
}

func TestAckOfTheFutureChangesNothing(t *testing.T) {
	r := newRing(t, Limits{Slots: 8, Telemetry: 4, PerKind: 4})
	put(r, event.SessionOpen)
	put(r, event.SessionOpen)
	r.Next(1)
	if err := r.Ack(2); err == nil {
		t.Fatal("acknowledgement of a record that was never handed out accepted")
	}
	if all, _ := r.Credits(); all != 2 {
		t.Fatalf("%d credits in use after a refused acknowledgement, want 2", all)
	}
}

func TestAbandonReleasesEverything(t *testing.T) {
	r := newRing(t, Limits{Slots: 8, Telemetry: 4, PerKind: 4})
	put(r, event.SessionOpen)
	put(r, event.PolicyDeny)
	room := r.Room()
	r.Abandon()
	select {
	case <-room:
	default:
		t.Error("a worker that waits for room is not woken")
	}
	if put(r, event.SessionOpen) || !r.Closed() {
		t.Error("an abandoned ring takes records")
	}
	s := r.State()
	if s.Released.Abandoned[event.SessionOpen] != 1 || s.Released.Abandoned[event.PolicyDeny] != 1 || s.Floor != s.Next {
		t.Errorf("state after Abandon: %+v", s)
	}
}

func TestBadLimits(t *testing.T) {
	for _, l := range []Limits{{Slots: 12, Telemetry: 4, PerKind: 2}, {Slots: 0}, {Slots: 8, Telemetry: 8, PerKind: 2}} {
		if _, err := New(l); err == nil {
			t.Errorf("%+v accepted", l)
		}
	}
}

func BenchmarkAppendReadAck(b *testing.B) {
	r := newRing(b, Limits{Slots: 8192, Telemetry: 4096, PerKind: 1366})
	var rec event.Record
	rec.Reset(event.PolicyDeny)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if r.Acquire(PolicyDeny, 1) == 1 {
			r.Put(r.Claim(1), PolicyDeny, &rec)
		}
		if n++; n == 64 {
			n = 0
			run := r.Next(1024)
			if err := r.Ack(run[len(run)-1].Seq()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
