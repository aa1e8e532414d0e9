package tail

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/sdk/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// put shows n records as a lane of the gate does, and returns how many had room. Their times count up from first.
func put(l *Lane, n int, first int64) int {
	room := l.Begin(n)
	for i := range room {
		var rec event.Record
		rec.Reset(event.PolicyDeny)
		rec.SetTime(first + int64(i))
		l.Put(&rec)
	}
	if room > 0 {
		l.End()
	}
	return room
}

// lanes returns a tail of so many lanes.
func lanes(n int) *Tail {
	t := New()
	for range n {
		t.Add()
	}
	return t
}

func watch(t *testing.T, tail *Tail) *Watcher {
	t.Helper()
	w, err := tail.Watch()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func next(t *testing.T, w *Watcher) Batch {
	t.Helper()
	b, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNobodyLooks(t *testing.T) {
	tail := lanes(1)
	if n := put(tail.lanes[0], 10, 0); n != 0 {
		t.Errorf("%d records are copied for nobody", n)
	}
	w := watch(t, tail)
	w.Close()
	w.Close()
	if n := put(tail.lanes[0], 10, 0); n != 0 || tail.lanes[0].buffer != nil {
		t.Errorf("after the last watcher %d records are copied, and the buffer is of %d", n, len(tail.lanes[0].buffer))
	}
	if n, leftOut := tail.Watchers(); n != 0 || leftOut != 0 {
		t.Errorf("%d watchers, %d left out", n, leftOut)
	}
}

// TestOrder merges the lanes by time, and keeps the order of each.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tail := lanes(3)
		first, second := watch(t, tail), watch(t, tail)
		defer first.Close()
		defer second.Close()
		put(tail.lanes[2], 3, 10)
		put(tail.lanes[0], 2, 11)
		put(tail.lanes[2], 1, 5)
		for _, w := range []*Watcher{first, second} {
			b := next(t, w)
			var times []int64
			for i := range b.Records {
				times = append(times, b.Records[i].Time())
			}
			if want := []int64{10, 11, 11, 12, 12, 5}; !slices.Equal(times, want) || b.LeftOut != 0 {
				t.Errorf("times %v, %d left out; want %v", times, b.LeftOut, want)
			}
		}
	})
}

// TestLaneFull shows a lane more than its buffer takes: the rest is counted, and the next interval has room again.
func TestLaneFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tail := lanes(1)
		w := watch(t, tail)
		defer w.Close()
		shown := 0
		for range LaneRecords/100 + 10 {
			shown += put(tail.lanes[0], 100, 0)
		}
		b := next(t, w)
		if all := uint64(LaneRecords/100+10) * 100; shown != LaneRecords || len(b.Records) != shown || b.LeftOut != all-uint64(shown) {
			t.Errorf("%d shown, %d seen, %d left out of %d", shown, len(b.Records), b.LeftOut, all)
		}
		if n := put(tail.lanes[0], 7, 0); n != 7 || len(next(t, w).Records) != 7 {
			t.Errorf("%d of 7 records are shown afterwards", n)
		}
	})
}

// TestSlowWatcher looks away while more goes by than its queue takes: it gets the newest, and how much it missed. Another one misses
// nothing.
func TestSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tail := lanes(2)
		slow, quick := watch(t, tail), watch(t, tail)
		defer slow.Close()
		defer quick.Close()
		const intervals = 40
		seen := 0
		for i := range intervals {
			put(tail.lanes[0], 1000, int64(i))
			put(tail.lanes[1], 1000, int64(i))
			time.Sleep(Interval)
			synctest.Wait()
			seen += len(next(t, quick).Records)
		}
		if seen != intervals*2000 {
			t.Errorf("the quick watcher has seen %d of %d", seen, intervals*2000)
		}
		got, leftOut, last := 0, uint64(0), int64(0)
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			b, err := slow.Next(ctx)
			cancel()
			if err != nil {
				break
			}
			got += len(b.Records)
			leftOut += b.LeftOut
			last = b.Records[len(b.Records)-1].Time()
		}
		if got > QueueRecords || got < QueueRecords-2000 || uint64(got)+leftOut != intervals*2000 || last != intervals-1+999 {
			t.Errorf("the slow watcher got %d records to %d, and missed %d", got, last, leftOut)
		}
		if _, all := tail.Watchers(); all != leftOut {
			t.Errorf("%d left out in all, want %d", all, leftOut)
		}
	})
}

func TestTooMany(t *testing.T) {
	tail := lanes(1)
	var list []*Watcher
	for range MaxWatchers {
		list = append(list, watch(t, tail))
	}
	if _, err := tail.Watch(); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	for _, w := range list {
		w.Close()
	}
	watch(t, tail).Close()
}

// TestConcurrent has lanes show, and watchers come and go. What one that stays sees and what is left out adds up to what was shown.
func TestConcurrent(t *testing.T) {
	tail := lanes(2)
	stays := watch(t, tail)
	var sum uint64
	counted := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(counted)
		for {
			b, err := stays.Next(ctx)
			if err != nil {
				return
			}
			sum += uint64(len(b.Records)) + b.LeftOut
			for i := range b.Records {
				if b.Records[i].Kind() != event.PolicyDeny {
					t.Error("a record is torn")
				}
			}
		}
	}()
	const batches, size = 3000, 50
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for range batches {
				put(tail.lanes[i], size, 0)
			}
		})
	}
	for range 50 {
		watch(t, tail).Close()
	}
	wg.Wait()
	last := watch(t, tail) // has what is put now, and with it all before has been taken
	put(tail.lanes[0], 1, 0)
	if _, err := last.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	last.Close()
	cancel()
	<-counted
	for b, ok := stays.pop(); ok; b, ok = stays.pop() {
		sum += uint64(len(b.Records)) + b.LeftOut
	}
	stays.Close()
	if want := uint64(2*batches*size + 1); sum != want {
		t.Errorf("%d seen or left out, want %d", sum, want)
	}
}

// TestCloseAndWatch has the last watcher leave and another one come while the buffers are taken: what is put afterwards reaches the new one.
func TestCloseAndWatch(t *testing.T) {
	const rounds = 50
	synctest.Test(t, func(t *testing.T) {
		for round := range rounds {
			tail := lanes(8)
			old := watch(t, tail)
			var wg sync.WaitGroup
			wg.Go(func() {
				time.Sleep(Interval)
				old.Close()
			})
			var now *Watcher
			wg.Go(func() {
				time.Sleep(Interval)
				var err error
				if now, err = tail.Watch(); err != nil {
					t.Error(err)
					return
				}
				for _, l := range tail.lanes {
					put(l, 1, 0)
				}
			})
			wg.Wait()
			time.Sleep(2 * Interval)
			synctest.Wait()
			seen := 0
			for b, ok := now.pop(); ok; b, ok = now.pop() {
				seen += len(b.Records) + int(b.LeftOut)
			}
			now.Close()
			if seen != len(tail.lanes) {
				t.Fatalf("round %d: %d records put, %d seen or left out", round, len(tail.lanes), seen)
			}
		}
	})
}

// TestAllocations shows batches while nothing takes them: a lane allocates nothing, with room and without.
func TestAllocations(t *testing.T) {
	tail := lanes(1)
	tail.watched.Store(true)
	l := tail.lanes[0]
	l.swap(make([]event.Record, LaneRecords))
	var rec event.Record
	if n := testing.AllocsPerRun(2*LaneRecords, func() {
		if l.Begin(1) > 0 {
			l.Put(&rec)
			l.End()
		}
	}); n != 0 {
		t.Errorf("%v allocations for a record", n)
	}
}

// TestLaneComesLate adds a lane while somebody looks.
func TestLaneComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tail := lanes(1)
		w := watch(t, tail)
		defer w.Close()
		put(tail.lanes[0], 2, 0)
		late := tail.Add()
		put(late, 3, 5)
		if b := next(t, w); len(b.Records) != 5 || b.Records[4].Time() != 7 {
			t.Errorf("%d records", len(b.Records))
		}
		put(late, LaneRecords+1, 0)
		if b := next(t, w); len(b.Records) != LaneRecords || b.LeftOut != 1 {
			t.Errorf("%d records, %d left out", len(b.Records), b.LeftOut)
		}
	})
}
