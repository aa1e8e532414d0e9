package session

import (
	"runtime"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
)

// TestEnter has one worker carry batches with a table for itself while others look at it, then a second worker beside it that comes in the
// place of the first, and then one that shares the table with both. Every packet is counted once and on its side.
func TestEnter(t *testing.T) {
	const flows, batches, batch = 256, 60, 16
	table := unkeyed{New(Config{Max: 1 << 12, Seed: 1, Workers: 1, Timeouts: DefaultTimeouts()})}
	var others, workers sync.WaitGroup
	stop := make(chan struct{})
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for s := range table.All(base) {
				if s.Client.Proto != udp {
					t.Errorf("session %+v", s)
				}
			}
			table.Withdraw(base, func(*Session) bool { return true })
			if s := table.Stats(); s.Active > flows {
				t.Errorf("%+v", s)
			}
		}
	})
	carry := func(first uint64, back bool) {
		var hit Hit
		var old Replaced
		id := first
		for range batches {
			for from := 0; from < flows; from += batch {
				table.Enter()
				for i := range batch {
					h := flow(from + i)
					if back {
						h.Tuple = h.Reverse()
					}
					if !table.Lookup(h, 1, base, &hit) && table.Create(h, 1, base, &Params{ID: id}, &old) == Created {
						id += 3
					}
				}
				table.Leave()
			}
		}
	}
	workers.Go(func() { carry(1, false) })
	table.Share([]int{1})
	workers.Go(func() { carry(2, true) })
	for range 50 {
		table.Stats() // the two are under way
	}
	table.Share([]int{1, 2})
	if table.alone.Load() {
		t.Error("the table is one worker's, and has two")
	}
	workers.Go(func() { carry(3, true) })
	workers.Wait()
	close(stop)
	others.Wait()

	if got := table.Stats(); got.Created != flows || got.Active != flows {
		t.Fatalf("%+v, want %d sessions", got, flows)
	}
	for s := range table.All(base) {
		if one, two := s.ClientPackets, s.ServerPackets; min(one, two) != batches || max(one, two) != 2*batches {
			t.Errorf("%d and %d packets of a session, want %d and %d", one, two, batches, 2*batches)
		}
	}
	if table.held {
		t.Error("somebody has the table")
	}
}

// TestEnterHolds shows that a batch of the only worker keeps others out, and that its calls do not wait for itself.
func TestEnterHolds(t *testing.T) {
	table := unkeyed{New(Config{Max: 1 << 8, Seed: 1, Workers: 1, Timeouts: DefaultTimeouts()})}
	var hit Hit
	var old Replaced
	h := flow(1)
	table.Enter()
	table.Create(h, 1, base, &Params{ID: 1}, &old)
	seen := make(chan Stats)
	go func() { seen <- table.Stats() }()
	for range packet.BatchSize {
		if !table.Lookup(h, 1, base, &hit) {
			t.Error("no session")
		}
	}
	select {
	case s := <-seen:
		t.Errorf("somebody got at the table: %+v", s)
	default:
	}
	table.Leave()
	if s := <-seen; s.Active != 1 {
		t.Errorf("%+v", s)
	}
	table.Leave() // without Enter: nothing
	table.Share([]int{0, 1})
	table.Enter()
	if s := table.Stats(); s.Active != 1 {
		t.Errorf("%+v", s)
	}
	table.Leave()
}

// TestEnterTooLate has the only worker begin a batch while the table is about to be shared: it does not get it for itself.
func TestEnterTooLate(t *testing.T) {
	table := New(Config{Max: 1 << 8, Seed: 1, Workers: 1, Timeouts: DefaultTimeouts()})
	table.whole.RLock()
	entered := make(chan struct{})
	go func() {
		table.Enter()
		close(entered)
	}()
	for table.whole.TryRLock() { // not while somebody waits for all of it
		table.whole.RUnlock()
		runtime.Gosched()
	}
	table.alone.Store(false)
	table.whole.RUnlock()
	<-entered
	if table.held || !table.whole.TryLock() {
		t.Error("a worker has the table for itself, and another is about to begin")
	}
}

// TestShareWaits shares a table in the middle of a batch of its only worker: another may begin only when that is over.
func TestShareWaits(t *testing.T) {
	table := New(Config{Max: 1 << 8, Seed: 1, Workers: 1, Timeouts: DefaultTimeouts()})
	table.Enter()
	shared := make(chan struct{})
	go func() {
		table.Share([]int{0, 1})
		close(shared)
	}()
	for range 1000 {
		runtime.Gosched()
		select {
		case <-shared:
			t.Fatal("another worker may begin, and the first has the table for itself")
		default:
		}
	}
	table.Leave()
	<-shared
}
