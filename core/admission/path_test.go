package admission

import (
	"bytes"
	"context"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// randomEvent is an event with every field that its kind has, and some that it has not.
func randomEvent(rng *rand.Rand, k event.Kind, unanswered bool) Event {
	e := Event{
		Kind: k, Unanswered: unanswered, Time: rng.Int64(), Action: event.Action(rng.IntN(3)), Reason: event.CloseReason(rng.IntN(4)),
		InZone: uint16(rng.Uint32()), OutZone: uint16(rng.Uint32()), App: uint16(rng.Uint32()), Interface: rng.Uint32(), Policy: rng.Uint32(),
		SessionID: rng.Uint64(), Filter: rng.Uint32(), Term: rng.Uint32(), Screen: event.Screen(rng.IntN(8)), ICMPType: uint8(rng.Uint32()),
		Created: rng.Uint32(), ClientPackets: rng.Uint64(), ClientBytes: rng.Uint64(), ServerPackets: rng.Uint64(), ServerBytes: rng.Uint64(),
	}
	e.Flow = packet.Tuple{Family: packet.IPv6, Proto: uint8(rng.Uint32()), SrcPort: uint16(rng.Uint32()), DstPort: uint16(rng.Uint32())}
	for i := range e.Flow.Src {
		e.Flow.Src[i], e.Flow.Dst[i] = byte(rng.Uint32()), byte(rng.Uint32())
	}
	if rng.IntN(2) == 0 {
		e.NAT.Src, e.NAT.SrcPort = e.Flow.Dst, e.Flow.DstPort
	}
	return e
}

// TestRecordsInUsedSlots makes records in slots that others have had, of all kinds, in one ring or two: nothing of what was there is left.
func TestRecordsInUsedSlots(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	limits := replay.Limits{Slots: 16, Telemetry: 12, PerKind: 12}
	r := newRig(t, 1, []replay.Limits{limits, limits})
	l := r.lanes[0]
	seq := uint64(0)
	for round := range 200 {
		r.gate.SetGeneration(uint32(round))
		var events []Event
		for range 1 + rng.IntN(10) {
			k := event.Kind(rng.IntN(event.NumKinds - 1))
			if !l.Offer(k, l.Slot(1), int64(round)) {
				t.Fatal("refused without a limit that matters")
			}
			events = append(events, randomEvent(rng, k, false))
		}
		l.Lane.Flush(int64(round), int64(round), events)
		for i, ring := range r.rings {
			got := drainRing(t, ring)
			if len(got) != len(events) {
				t.Fatalf("ring %d: %d records of %d events", i, len(got), len(events))
			}
			for j := range events {
				var want event.Record
				events[j].Encode(&want)
				want.SetSeq(event.Seq(seq + uint64(j) + 1))
				if !bytes.Equal(got[j].Frame(), want.Frame()) || got[j].Kind() != want.Kind() || got[j].Generation != uint32(round) {
					t.Fatalf("ring %d, round %d: record %d of generation %d is\n%x, want\n%x", i, round, j, got[j].Generation, got[j].Frame(), want.Frame())
				}
			}
		}
		seq += uint64(len(events))
	}
	checkP1(t, r)
}

// flushAsRows is Flush without the short way of batches of one row.
func (c *collector) flushAsRows(now, wall int64, events []Event) (owed int) {
	l, all := c.Lane, true
	l.noteLimited()
	l.batch.begin(events, l.gate.generation.Load())
	for i := range l.ways {
		all = l.deliverRows(&l.ways[i], wall) && all
	}
	if !all {
		owed = l.takeBack()
		for i := range l.ways {
			l.account(&l.ways[i], wall)
		}
	}
	l.Flush(now, wall, nil)
	return owed
}

// TestOneRow brings the same batches to two gates, of which one has a short way for those of one row: nobody can tell them apart.
func TestOneRow(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 4))
		limits := []replay.Limits{{Slots: 64, Telemetry: 48, PerKind: 24}, {Slots: 16, Telemetry: 12, PerKind: 6}, {Slots: 16, Telemetry: 12, PerKind: 6}}
		open := true // the destination of the third sink
		options := func(c *Config) {
			c.Sinks[0].Only = event.KindSet(rng.IntN(1 << event.NumKinds)).With(event.Loss)
			c.Sinks[1].Overflow = replay.Evict
			c.Sinks[2].Connected = func() bool { return open }
		}
		var gates [2]*rig
		for i := range gates {
			rng = rand.New(rand.NewPCG(seed, 4))
			gates[i] = newRig(t, 1, limits, options)
		}
		for step := range int64(200) {
			if rng.IntN(8) == 0 {
				open = !open
			}
			k, unanswered := event.Kind(rng.IntN(event.NumKinds-1)), rng.IntN(3) == 0
			var events []Event
			for range 1 + rng.IntN(6) {
				if rng.IntN(8) == 0 {
					k = event.Kind(rng.IntN(event.NumKinds - 1))
				}
				events = append(events, randomEvent(rng, k, unanswered && k <= event.SessionClose))
			}
			var owed [2]int
			for i, r := range gates {
				l := r.lanes[0]
				for _, e := range events {
					if e.Unanswered {
						l.TryUnanswered(e.Kind, l.Slot(1), step)
					} else {
						l.Offer(e.Kind, l.Slot(1), step)
					}
				}
				if i == 0 {
					owed[i] = l.Lane.Flush(step, step, events)
				} else {
					owed[i] = l.flushAsRows(step, step, events)
				}
			}
			drained, lent := rng.IntN(4) == 0, 0
			if rng.IntN(3) == 0 {
				lent = 1 + rng.IntN(8)
			}
			acknowledged := rng.IntN(lent + 1)
			for i := range limits {
				a, b := gates[0].rings[i], gates[1].rings[i]
				for _, ring := range []*replay.Ring{a, b} { // a run that ends early
					if run := ring.Next(lent); acknowledged > 0 && len(run) >= acknowledged {
						if err := ring.Ack(run[acknowledged-1].Seq()); err != nil {
							t.Fatal(err)
						}
					}
					ring.Rewind()
				}
				if owed[0] != owed[1] || !reflect.DeepEqual(a.State(), b.State()) {
					t.Fatalf("seed %d, step %d, ring %d: %d owed and %+v, as rows %d and %+v", seed, step, i, owed[0], a.State(), owed[1], b.State())
				}
				if drained && !reflect.DeepEqual(drainRing(t, a), drainRing(t, b)) {
					t.Fatalf("seed %d, step %d, ring %d: other records", seed, step, i)
				}
			}
			if a, b := gates[0].gate.Ledger(), gates[1].gate.Ledger(); !reflect.DeepEqual(a, b) {
				t.Fatalf("seed %d, step %d: ledger %+v, as rows %+v", seed, step, a, b)
			}
		}
		for _, r := range gates {
			checkP1(t, r)
		}
	}
}

// TestLanesAtOnce has lanes use one bucket at one instant: as many events pass as the burst is, and the others are counted.
func TestLanesAtOnce(t *testing.T) {
	const lanes, each = 4, 4000
	r := newRig(t, lanes, []replay.Limits{large}, rate(1, each))
	var passed atomic.Int64
	var wg sync.WaitGroup
	for w := range lanes {
		wg.Go(func() {
			l := r.gate.Lane(context.Background(), w)
			for i := range each {
				if l.Offer(event.FilterLog, l.Slot(1), 42) {
					passed.Add(1)
				}
				if i%7 == 0 {
					l.Flush(42, 42, nil)
				}
			}
			l.Flush(42, 42, nil)
		})
	}
	wg.Wait()
	led := r.gate.Ledger()
	if got := passed.Load(); got != each || led.Offered[event.FilterLog] != lanes*each || led.RateLimited[event.FilterLog] != (lanes-1)*each {
		t.Errorf("%d passed, want %d; of %d offered %d were refused", got, each, led.Offered[event.FilterLog], led.RateLimited[event.FilterLog])
	}
}

// TestRefusalsByZone refuses events of all kinds in many zones, some of which come later: each is counted where it was, in the loss
// records too.
func TestRefusalsByZone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	r := newRig(t, 1, []replay.Limits{{Slots: 8192, Telemetry: 1024, PerKind: 1024}}, rate(1, 1), func(c *Config) {
		c.Unanswered = Rate{PerSecond: 1, Burst: 1}
	})
	l := r.lanes[0]
	refused := make(map[event.Kind]map[uint16]uint64)
	for step := range 2000 {
		if step%100 == 0 {
			if err := r.gate.AddZones([]uint16{uint16(3 + step/100)}); err != nil {
				t.Fatal(err)
			}
		}
		zone := uint16(rng.IntN(24))
		if l.Slot(zone) == 0 {
			zone = 0
		}
		k, now := event.Kind(rng.IntN(event.NumKinds-1)), int64(step)*2e6
		var passed bool
		if k.Telemetry() {
			passed = offer(l, k, zone, now)
		} else {
			passed = offerUnanswered(l, k, zone, now)
		}
		if !passed {
			if refused[k] == nil {
				refused[k] = make(map[uint16]uint64)
			}
			refused[k][zone]++
		}
		if rng.IntN(10) == 0 {
			l.Flush(now, now)
			l.Sync()
		}
	}
	l.Finish(5e9, 5e9)
	if led := r.gate.Ledger(); !reflect.DeepEqual(led.LimitedByZone, refused) {
		t.Errorf("refused %v, want %v", led.LimitedByZone, refused)
	}
	announced := make(map[event.Kind]map[uint16]uint64)
	records := drainRing(t, r.rings[0])
	for i := range records {
		if records[i].Kind() != event.Loss {
			continue
		}
		for k, n := range records[i].LossCounts() {
			if n > 0 {
				if announced[event.Kind(k)] == nil {
					announced[event.Kind(k)] = make(map[uint16]uint64)
				}
				announced[event.Kind(k)][records[i].InZone()] += n
			}
		}
	}
	if !reflect.DeepEqual(announced, refused) {
		t.Errorf("announced %v, want %v", announced, refused)
	}
	checkP1(t, r)
}

// TestOwedByEarlierRun has a ring that an earlier run has evicted from, and told nothing of it: the loss record stands before what comes
// first, though there is room for all.
func TestOwedByEarlierRun(t *testing.T) {
	position := replay.Position{Floor: 1, Next: 1, Owed: event.LossCounts{event.ScreenDrop: 3}, Since: 5, Until: 7}
	ring, err := replay.Restore(small, &position, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, 1, nil, func(c *Config) {
		c.Sinks = []Sink{{Name: "sink", Ring: ring, Only: event.AllKinds, Overflow: replay.Evict}}
	})
	l := r.lanes[0]
	offer(l, event.PolicyDeny, 1, 1)
	l.Flush(1, 1)
	got := drainRing(t, ring)
	if len(got) != 2 || got[0].Kind() != event.Loss || got[0].LossCounts() != position.Owed || got[1].Kind() != event.PolicyDeny {
		t.Fatalf("%d records, want the loss of the earlier run before the denial: %v", len(got), got)
	}
}

// TestRefusalsOfLanes has lanes storm the same zones while windows end all the time, each lane at its own, and finish one after the other:
// the loss records tell of every refusal, where it was, and once.
func TestRefusalsOfLanes(t *testing.T) {
	const lanes, zones = 4, 12
	r := newRig(t, lanes, []replay.Limits{{Slots: 1 << 14, Telemetry: 64, PerKind: 64}}, rate(1, 1), func(c *Config) {
		for zone := uint16(3); zone < zones; zone++ {
			c.Zones = append(c.Zones, zone)
		}
	})
	var wg sync.WaitGroup
	for i, l := range r.lanes {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 8))
			now := int64(0)
			for range 200 * (i + 1) { // (i+1) seconds: all ticks of all lanes together make fewer loss records than the ring may hold
				now += rng.Int64N(1e7)
				offer(l, event.ScreenDrop, uint16(rng.IntN(zones)), now)
				if rng.IntN(4) == 0 {
					l.Flush(now, now)
				}
			}
			l.Finish(now, now)
		})
	}
	wg.Wait()
	records := drainRing(t, r.rings[0])
	announced := make(map[uint16]uint64)
	for i := range records {
		if records[i].Kind() == event.Loss && records[i].LossReason() == event.LossRateLimited {
			announced[records[i].InZone()] += records[i].LossCounts()[event.ScreenDrop]
		}
	}
	if refused := r.gate.Ledger().LimitedByZone[event.ScreenDrop]; !reflect.DeepEqual(announced, refused) {
		t.Errorf("announced %v, refused %v", announced, refused)
	}
}

// TestRatesChangeInUse changes the rates of a bucket that has used up its own: the next event comes under the new ones, also if there is
// no limit any more, or one again.
func TestRatesChangeInUse(t *testing.T) {
	const now = int64(1e9)
	for _, k := range telemetry {
		r := newRig(t, 1, []replay.Limits{large}, rate(1, 1))
		offers := func(want ...bool) {
			t.Helper()
			for i, passes := range want {
				if got := offer(r.lanes[0], k, 1, now); got != passes {
					t.Fatalf("%v, offer %d at the rate: passes is %v", k, i, got)
				}
			}
		}
		set := func(rate Rate) {
			var o Options
			o.Rates[k] = rate
			if err := r.gate.SetRates(o); err != nil {
				t.Fatal(err)
			}
		}
		offers(true, false, false)
		set(Rate{})
		offers(true, true, true)
		set(Rate{PerSecond: 1000, Burst: 10})
		offers(true, false) // the last of its burst, see forgive
		r.lanes[0].Flush(now, now)
		if n := r.gate.Ledger().RateLimited[k]; n != 3 {
			t.Errorf("%v: %d refused, want 3", k, n)
		}
		checkP1(t, r)
	}
}

// TestFlushWakes has the reader of a ring asleep: whatever way a record goes into the ring, it is woken.
func TestFlushWakes(t *testing.T) {
	for name, put := range map[string]func(r *rig){
		"a batch of one row": func(r *rig) {
			offer(r.lanes[0], event.PolicyDeny, 1, 1)
			r.lanes[0].Flush(1, 1)
		},
		"a batch of two rows": func(r *rig) {
			offer(r.lanes[0], event.PolicyDeny, 1, 1)
			offer(r.lanes[0], event.FilterLog, 1, 1)
			r.lanes[0].Flush(1, 1)
		},
		"a loss record": func(r *rig) { r.lanes[0].Unread(&event.LossCounts{event.FilterLog: 1}, 1, 1) },
	} {
		r := newRig(t, 1, []replay.Limits{large})
		wake, asleep := r.rings[0].Sleep()
		if !asleep {
			t.Fatal("there is something to read")
		}
		put(r)
		select {
		case <-wake:
		default:
			t.Errorf("%s does not wake the reader", name)
		}
	}
}
