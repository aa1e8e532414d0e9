package replay

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

// model is the ring as a slice: what is held, oldest first.
type model struct {
	limits Limits
	held   []item
	next   event.Seq
	sent   event.Seq // next to hand out
	handed event.Seq
	rel    Released
}

type item struct {
	seq      event.Seq
	kind     event.Kind
	rejected bool
	marker   *event.LossCounts // a loss record for evicted records
}

func (m *model) inFlight(match func(event.Kind) bool) (n int) {
	for _, it := range m.held {
		if match(it.kind) {
			n++
		}
	}
	return n
}

func (m *model) fits(k event.Kind) bool {
	if len(m.held) >= m.limits.Slots {
		return false
	}
	if k == event.Loss {
		return m.inFlight(func(o event.Kind) bool { return o == k }) < announcements(m.limits)
	}
	if !k.Telemetry() {
		return true
	}
	return m.inFlight(event.Kind.Telemetry) < m.limits.Telemetry &&
		m.inFlight(func(o event.Kind) bool { return o == k }) < m.limits.PerKind
}

func (m *model) push(k event.Kind) {
	m.held = append(m.held, item{seq: m.next, kind: k})
	m.next++
}

// handedOut reports whether the sink's present run has been given the position.
func (m *model) handedOut(s event.Seq) bool { return s < m.sent }

// evict follows the rules of AcquireEvicting for one record.
func (m *model) evict(k event.Kind) bool {
	for !m.fits(k) {
		if len(m.held) == 0 || m.handedOut(m.held[0].seq) {
			return false
		}
		i := 0
		if m.held[0].marker != nil {
			i = 1
		}
		if i >= len(m.held) || m.handedOut(m.held[i].seq) || k != event.SessionOpen && k != event.SessionClose && !m.held[i].kind.Telemetry() {
			return false
		}
		victim := m.held[i]
		counts := new(event.LossCounts)
		if victim.kind != event.Loss {
			counts[victim.kind] = 1
		}
		if i == 1 {
			for k, n := range m.held[0].marker {
				counts[k] += n
			}
		} else {
			m.rel.Announced++
		}
		m.rel.Evicted[victim.kind]++
		m.held[i] = item{seq: victim.seq, kind: event.Loss, marker: counts}
		m.held = m.held[i:]
	}
	return true
}

func (m *model) ack(through event.Seq) bool {
	if through > m.handed {
		return false
	}
	for len(m.held) > 0 && m.held[0].seq <= through {
		if m.held[0].rejected {
			m.rel.Rejected[m.held[0].kind]++
		} else {
			m.rel.Acknowledged[m.held[0].kind]++
		}
		m.held = m.held[1:]
	}
	return true
}

// TestP2P5P6Model drives ring and model with the same random operations and compares everything that can be seen.
func TestP2P5P6Model(t *testing.T) {
	for seed := range uint64(400) {
		if err := runModel(seed, 400); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func FuzzModel(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		if err := runModel(seed, 300); err != nil {
			t.Fatal(err)
		}
	})
}

func runModel(seed uint64, steps int) error {
	rng := rand.New(rand.NewPCG(seed, 3))
	l := Limits{Slots: 1 << (2 + rng.IntN(4))}
	l.Telemetry = 1 + rng.IntN(l.Slots-1)
	l.PerKind = 1 + rng.IntN(l.Telemetry)
	r, err := New(l)
	if err != nil {
		return err
	}
	m := &model{limits: l, next: 1, sent: 1}
	var rec event.Record
	for step := range steps {
		switch op := rng.IntN(10); {
		case op < 4: // append, refusing or evicting
			k := event.Kind(rng.IntN(event.NumKinds))
			got, want := 0, m.fits(k)
			if rng.IntN(2) == 0 {
				got = r.Acquire(k, 1)
			} else {
				got, want = r.AcquireEvicting(k, 1), m.evict(k)
			}
			if (got == 1) != want {
				return fmt.Errorf("step %d: credit for %v: got %d, model says %v", step, k, got, want)
			}
			if got == 1 {
				rec.Reset(k)
				r.Put(r.Claim(1), &rec)
				m.push(k)
			}
		case op < 7: // read
			limit := 1 + rng.IntN(5)
			if err := compareRun(r.Next(limit), m, l, limit); err != nil {
				return fmt.Errorf("step %d: %w", step, err)
			}
		case op < 8: // acknowledge, sometimes what was never handed out, sometimes backwards
			through := event.Seq(rng.Uint64N(uint64(m.next) + 2))
			if ok := r.Ack(through) == nil; ok != m.ack(through) {
				return fmt.Errorf("step %d: ack of %d: %v", step, through, ok)
			}
		case op < 9:
			r.Rewind()
			m.sent = m.next
			if len(m.held) > 0 {
				m.sent = m.held[0].seq
			}
		default: // reject something
			seq := event.Seq(rng.Uint64N(uint64(m.next) + 1))
			want := false
			for i := range m.held {
				if it := &m.held[i]; it.seq == seq && seq <= m.handed && !it.rejected {
					it.rejected, want = true, true
				}
			}
			if got := r.Reject(seq); got != want {
				return fmt.Errorf("step %d: reject %d: %v, model says %v", step, seq, got, want)
			}
		}
		if err := compareState(r, m); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	r.Abandon()
	if all, tel := r.Credits(); all != 0 || tel != 0 {
		return fmt.Errorf("credits after the end: %d, %d", all, tel)
	}
	return nil
}

func compareRun(run []event.Record, m *model, l Limits, limit int) error {
	if len(m.held) > 0 {
		m.sent = max(m.sent, m.held[0].seq)
	} else {
		m.sent = m.next
	}
	toWrap := l.Slots - int(uint64(m.sent)&uint64(l.Slots-1))
	want := min(int(m.next-m.sent), limit, toWrap)
	if len(run) != want {
		return fmt.Errorf("read %d records from %d on, want %d", len(run), m.sent, want)
	}
	for i := range run {
		it := m.held[int(m.sent-m.held[0].seq)+i]
		if run[i].Seq() != it.seq || run[i].Kind() != it.kind {
			return fmt.Errorf("read %v with sequence %d, want %v with %d", run[i].Kind(), run[i].Seq(), it.kind, it.seq)
		}
		if it.marker != nil && run[i].LossCounts() != *it.marker {
			return fmt.Errorf("loss record counts %v, want %v", run[i].LossCounts(), *it.marker)
		}
	}
	m.sent += event.Seq(want)
	m.handed = max(m.handed, m.sent-1)
	return nil
}

func compareState(r *Ring, m *model) error {
	s := r.State()
	var inFlight [event.NumKinds]uint64
	for _, it := range m.held {
		inFlight[it.kind]++
	}
	floor := m.next
	if len(m.held) > 0 {
		floor = m.held[0].seq
	}
	switch all, tel := r.Credits(); {
	case s.Floor != floor || s.Next != m.next:
		return fmt.Errorf("holds [%d, %d), want [%d, %d)", s.Floor, s.Next, floor, m.next)
	case s.InFlight != inFlight:
		return fmt.Errorf("in flight %v, want %v", s.InFlight, inFlight)
	case s.Released != m.rel:
		return fmt.Errorf("released %+v, want %+v", s.Released, m.rel)
	case all != len(m.held) || tel != m.inFlight(event.Kind.Telemetry):
		return fmt.Errorf("credits %d and %d in use for %d records", all, tel, len(m.held))
	}
	return nil
}
