package replay

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

// again returns the ring of the next run, and closes r.
func again(t *testing.T, r *Ring, l Limits) *Ring {
	t.Helper()
	p := r.Freeze()
	r.frozen = false // so that it can be compared
	var b []byte
	r.Held(func(rec *event.Record, unanswered, rejected bool) bool {
		b = AppendHeld(b, rec, unanswered, rejected)
		return true
	})
	var held []Held
	for len(b) > 0 {
		var h Held
		var err error
		if b, err = h.DecodeHeld(b); err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	next, err := Restore(l, &p, held)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// putFlow appends one record of the kind, with addresses, and reports whether there was a credit for it.
func putFlow(r *Ring, k event.Kind) bool {
	if r.Acquire(ClassOf(k), 1) == 0 {
		return false
	}
	var rec event.Record
	rec.Reset(k)
	rec.SetFlow(event.FamilyIPv6, 6, &[16]byte{1}, &[16]byte{2}, 1, 2)
	r.Put(r.Claim(1), ClassOf(k), &rec)
	return true
}

// twins are a ring and one that was restored from it: what is done to one is done to the other, with the same outcome.
type twins struct {
	t    *testing.T
	a, b *Ring
}

func (w *twins) same(what string, a, b int) {
	w.t.Helper()
	if a != b {
		w.t.Fatalf("%s: %d, of the restored ring %d", what, a, b)
	}
}

func (w *twins) step(rng *rand.Rand) {
	w.t.Helper()
	class := Class(rng.IntN(int(numClasses)))
	kind := [numClasses]event.Kind{event.SessionClose, event.Loss, event.PolicyDeny, event.ScreenDrop, event.FilterLog, event.SessionOpen}[class]
	n, evict, ack := 1+rng.IntN(3), rng.IntN(2) == 0, rng.Uint64N(4)
	var outcome [2]int
	var records [2][]byte
	op := rng.IntN(6)
	for i, r := range []*Ring{w.a, w.b} {
		if r == nil {
			continue
		}
		switch op {
		case 0, 1, 2:
			got := 0
			if evict {
				got = r.AcquireEvicting(class, n)
			} else {
				got = r.Acquire(class, n)
			}
			if outcome[i] = got; got == 0 {
				continue
			}
			if r.Owes() {
				r.AnnounceOwed(7)
			}
			run := r.Begin(got)
			for j := range got {
				rec := run.Slot(j)
				rec.Reset(kind)
				rec.SetTime(int64(run.first) + int64(j))
				rec.SetFlow(event.FamilyIPv4, 17, &[16]byte{1}, &[16]byte{2}, 1, 2)
				rec.Generation = uint32(run.first)
				run.Made(j, rec, class)
			}
			run.Publish()
		case 3:
			for batch := r.Next(n * 4); batch != nil && outcome[i] < n*4; batch = r.Next(n*4 - outcome[i]) { // the slots may end in between
				outcome[i] += len(batch)
				for j := range batch {
					records[i] = append(records[i], batch[j].Frame()...)
				}
				if evict {
					r.Reject(batch[0].Seq())
				}
			}
		case 4:
			if err := r.Ack(event.Seq(uint64(r.Floor()) + ack)); err != nil {
				outcome[i] = 1
			}
		case 5:
			r.Rewind()
		}
	}
	if w.b == nil {
		return
	}
	w.same("outcome", outcome[0], outcome[1])
	if !bytes.Equal(records[0], records[1]) {
		w.t.Fatal("the records differ")
	}
	all, telemetry := w.a.Credits()
	all2, telemetry2 := w.b.Credits()
	w.same("credits", all, all2)
	w.same("credits of telemetry", telemetry, telemetry2)
	if a, b := w.a.Untold(), w.b.Untold(); a != b {
		w.t.Fatalf("untold: %v, of the restored ring %v", a, b)
	}
}

// TestRestore does random things to a ring, restores another from it, and does the same random things to both.
func TestRestore(t *testing.T) {
	l := Limits{Slots: 32, Telemetry: 24, PerKind: 12}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		w := &twins{t: t, a: newRing(t, l)}
		for range rng.IntN(200) {
			w.step(rng)
		}
		w.a.Rewind()
		w.b = again(t, w.a, l)
		for range 100 {
			w.step(rng)
		}
		// The sums of both hold: what was taken over is there, or has left.
		for _, r := range []*Ring{w.a, w.b} {
			r.Keep()
			s := r.State()
			if s.Held != 0 {
				t.Fatalf("seed %d: %d records held when the ring is closed", seed, s.Held)
			}
			if all, telemetry := r.Credits(); all != 0 || telemetry != 0 {
				t.Fatalf("seed %d: %d credits, %d of telemetry, in use when the ring is closed", seed, all, telemetry)
			}
			if n := r.Untold(); n.Total() != 0 {
				t.Fatalf("seed %d: %v untold though all is kept", seed, n)
			}
		}
	}
}

// TestRestoreSmaller restores a full ring where the limits allow less: nothing is lost, and nothing goes in until it fits.
func TestRestoreSmaller(t *testing.T) {
	r := newRing(t, Limits{Slots: 64, Telemetry: 32, PerKind: 32})
	for range 32 {
		putFlow(r, event.PolicyDeny)
		putFlow(r, event.SessionClose)
	}
	small := again(t, r, Limits{Slots: 16, Telemetry: 8, PerKind: 8})
	if putFlow(small, event.SessionClose) || putFlow(small, event.PolicyDeny) {
		t.Error("a record went in above the limits")
	}
	got := 0
	for batch := small.Next(100); batch != nil; batch = small.Next(100) {
		got += len(batch)
	}
	if got != 64 {
		t.Errorf("%d records, want 64", got)
	}
	if err := small.Ack(60); err != nil {
		t.Fatal(err)
	}
	if !putFlow(small, event.SessionClose) || !putFlow(small, event.PolicyDeny) {
		t.Error("nothing goes in though there is room")
	}
	if batch := small.Next(10); len(batch) != 2 || batch[0].Seq() != 65 {
		t.Errorf("%d records behind the last ones", len(batch))
	}
}

// TestRestoreRefuses has positions that no ring can have.
func TestRestoreRefuses(t *testing.T) {
	r := newRing(t, Limits{Slots: 16, Telemetry: 8, PerKind: 8})
	for range 4 {
		put(r, event.SessionClose)
	}
	good := r.Freeze()
	var held []Held
	r.Held(func(rec *event.Record, _, _ bool) bool { held = append(held, Held{Record: *rec}); return true })
	for name, change := range map[string]func(p *Position, held []Held){
		"floor 0":          func(p *Position, _ []Held) { p.Floor = 0 },
		"too few":          func(p *Position, _ []Held) { p.Next++ },
		"too many":         func(p *Position, _ []Held) { p.Next-- },
		"handed":           func(p *Position, _ []Held) { p.Handed = p.Next },
		"straight":         func(p *Position, _ []Held) { p.Straight = p.Next + 1 },
		"marker is none":   func(p *Position, _ []Held) { p.Marker = 2 },
		"marker behind":    func(p *Position, _ []Held) { p.Marker = p.Next },
		"a number twice":   func(_ *Position, h []Held) { h[1].Record.SetSeq(1) },
		"a number between": func(p *Position, h []Held) { p.Floor, p.Next = p.Floor+1, p.Next+1 },
		"overflow":         func(p *Position, _ []Held) { p.Floor, p.Next = 1<<63, 1<<63+4 },
	} {
		p, h := good, append([]Held(nil), held...)
		change(&p, h)
		if _, err := Restore(Limits{Slots: 16, Telemetry: 8, PerKind: 8}, &p, h); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	if _, err := Restore(Limits{Slots: 16, Telemetry: 8, PerKind: 8}, &good, held); err != nil {
		t.Error(err)
	}
}
