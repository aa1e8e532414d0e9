package session

import (
	"sync"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
)

// TestTwoWorkers carries the two directions of the same flows on two goroutines, while a third turns the wheel. Each flow
// must have one session, and every packet must be counted once and on its side.
func TestTwoWorkers(t *testing.T) {
	const flows, rounds = 512, 40
	table := unkeyed{New(Config{Max: 1 << 12, Seed: 1, Workers: 2, Timeouts: DefaultTimeouts()})}
	carry := func(worker uint64, back bool) {
		var (
			hit Hit
			old Replaced
		)
		id := worker + 1
		for round := range rounds {
			for i := range flows {
				h := flow(i)
				if back {
					h.Tuple = h.Reverse()
				}
				now := base + int64(round)*1e6
				if table.Lookup(h, 1, now, &hit) {
					continue
				}
				if table.Create(h, 1, now, &Params{ID: id}, &old) == Created {
					id += 2
				}
			}
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { carry(0, false) })
	wg.Go(func() { carry(1, true) })
	wg.Go(func() {
		var out [8]Session
		for i := range int64(100) {
			for w := range 2 {
				if n, _ := table.Expire(w, base+i*1e6, out[:]); n > 0 {
					t.Errorf("%d sessions closed while in use", n)
				}
			}
		}
	})
	wg.Wait()

	if got := table.Stats(); got.Created != flows || got.Active != flows {
		t.Fatalf("%+v, want %d sessions", got, flows)
	}
	out := make([]Session, flows+1)
	n := 0
	for w := range 2 {
		for more := true; more; {
			var got int
			got, more = table.Expire(w, base+int64(2*minute), out[n:])
			n += got
		}
	}
	flowsSeen := make(map[packet.Tuple]bool)
	for _, c := range out[:n] {
		if c.ClientPackets != rounds || c.ServerPackets != rounds || c.ClientBytes != 100*rounds || c.ServerBytes != 100*rounds {
			t.Errorf("%+v, want %d packets each way", c, rounds)
		}
		if flowsSeen[c.Client] || flowsSeen[c.Client.Reverse()] {
			t.Errorf("two sessions of %v", c.Client)
		}
		flowsSeen[c.Client] = true
	}
	if n != flows {
		t.Errorf("%d sessions closed, want %d", n, flows)
	}
}
