package replay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

// model is the ring as a slice: what is held, oldest first.
type model struct {
	limits Limits // the ceilings, but for those of one kind
	target Limits // those that they move to
	ceilings
	held   []item
	lent   int // of held, handed out in the present run
	next   event.Seq
	handed event.Seq // highest sequence number ever handed out
	owed   event.LossCounts
	rel    Released
}

type item struct {
	seq      event.Seq
	class    Class
	kind     event.Kind
	rejected bool
	counts   event.LossCounts // of a loss record
	marker   bool             // a loss record that an eviction has made
}

func (m *model) owes() bool { return m.owed.Total() > 0 }

// inFlight counts what is held, and the slot that is kept for what is owed.
func (m *model) inFlight() int {
	n := len(m.held)
	if m.owes() {
		n++
	}
	return n
}

func (m *model) of(match func(Class) bool) (n int) {
	for _, it := range m.held {
		if match(it.class) {
			n++
		}
	}
	return n
}

func (m *model) is(c Class) int { return m.of(func(o Class) bool { return o == c }) }

func (m *model) fits(c Class) bool {
	switch {
	case m.inFlight() >= m.limits.Slots:
		return false
	case c == Announcement:
		n := m.is(c)
		if m.owes() {
			n++
		}
		return n < m.announce
	case !c.Telemetry():
		return true
	}
	return m.of(Class.Telemetry) < m.limits.Telemetry && m.is(c) < m.perKind[c]
}

func (m *model) push(c Class, k event.Kind, counts event.LossCounts) {
	m.held = append(m.held, item{seq: m.next, class: c, kind: k, counts: counts})
	m.next++
}

// evict follows the rules of AcquireEvicting for one record.
func (m *model) evict(c Class) bool {
	for !m.fits(c) {
		if c == Announcement || m.lent > 0 {
			return false
		}
		victim, slots := func(Class) bool { return true }, true
		if c.Telemetry() {
			slots = m.of(Class.Telemetry) < m.limits.Telemetry
			if victim = Class.Telemetry; m.is(c) >= m.perKind[c] {
				victim, slots = func(o Class) bool { return o == c }, false
			}
		}
		if !m.give(victim, slots, c.Telemetry()) {
			return false
		}
	}
	return true
}

// give gives up one record, and one for every 64 that stand before it; if young, of those only that were never handed out.
func (m *model) give(victim func(Class) bool, slots, young bool) bool {
	var kept []item
	marker := slices.IndexFunc(m.held, func(it item) bool { return it.marker && it.seq > m.handed })
	need, found := 1, false
	for i := range m.held {
		it := m.held[i]
		if need == 0 || !victim(it.class) || i == marker || young && it.seq <= m.handed {
			kept = append(kept, it)
			continue
		}
		if !found {
			need += i / moveCost
			found = true
		}
		m.rel.Evicted[it.kind]++
		counts, free := it.lost(), true
		at := slices.IndexFunc(kept, func(it item) bool { return it.marker && it.seq > m.handed })
		switch {
		case at >= 0:
			kept[at].counts = sum(kept[at].counts, counts)
		case marker >= 0:
			m.held[marker].counts = sum(m.held[marker].counts, counts)
		case it.seq > m.handed:
			kept = append(kept, item{seq: it.seq, class: Announcement, kind: event.Loss, marker: true, counts: sum(counts, m.owed)})
			m.owed = event.LossCounts{}
			m.rel.Announced++
			free = false
		default:
			free = m.owes()
			m.owed = sum(m.owed, counts)
		}
		if free || !slots {
			need--
		}
	}
	if at := slices.IndexFunc(kept, func(it item) bool { return it.marker && it.seq > m.handed }); at >= 0 && found {
		it := kept[at]
		kept = slices.Delete(kept, at, at+1)
		at = slices.IndexFunc(kept, func(it item) bool { return it.seq > m.handed })
		if at < 0 {
			at = len(kept)
		}
		kept = slices.Insert(kept, at, it)
	}
	for i := range kept { // what was never handed out is numbered anew
		if kept[i].seq > m.handed {
			kept[i].seq = m.next - event.Seq(len(kept)-i)
		}
	}
	m.held = kept
	return found
}

// lost returns what is missing without the record.
func (it *item) lost() event.LossCounts {
	counts := it.counts
	if it.kind != event.Loss {
		counts[it.kind]++
	}
	return counts
}

func sum(a, b event.LossCounts) event.LossCounts {
	for k, n := range b {
		a[k] += n
	}
	return a
}

func (m *model) ack(through event.Seq) bool {
	if through > m.handed {
		return false
	}
	before := len(m.held)
	for len(m.held) > 0 && m.held[0].seq <= through {
		if m.held[0].rejected {
			m.rel.Rejected[m.held[0].kind]++
		} else {
			m.rel.Acknowledged[m.held[0].kind]++
		}
		m.held = m.held[1:]
		m.lent = max(m.lent-1, 0)
	}
	if len(m.held) < before {
		m.settle()
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
	l := randomLimits(rng)
	r, err := New(l)
	if err != nil {
		return err
	}
	m := &model{limits: l, target: l, next: 1, ceilings: ceilingsOf(l)}
	said := map[event.Seq]string{}
	burst := 1 + l.Slots/16
	for step := range steps {
		var err error
		switch op := rng.IntN(21); {
		case op < 8: // append, refusing or evicting
			c, evicting := Class(rng.IntN(int(numClasses))), rng.IntN(2) == 0
			for range 1 + rng.IntN(burst) {
				if err = appendBoth(r, m, c, evicting, rng); err != nil {
					break
				}
			}
		case op < 14: // read
			limit := 1 + rng.IntN(2*burst)
			err = compareRun(r.Next(limit), m, limit, said)
		case op < 16: // acknowledge, sometimes what was never handed out, sometimes backwards
			through := event.Seq(rng.Uint64N(uint64(m.next) + 2))
			if ok := r.Ack(through) == nil; ok != m.ack(through) {
				err = fmt.Errorf("ack of %d: %v", through, ok)
			}
		case op < 18:
			r.Rewind()
			m.lent = 0
		case op < 19:
			l := randomLimits(rng)
			if err = r.Resize(l); err == nil {
				m.target = l
				m.settle()
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
				err = fmt.Errorf("reject %d: %v, model says %v", seq, got, want)
			}
		}
		if err == nil {
			err = compareState(r, m)
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	untold := m.owed
	for i := range m.held {
		untold = sum(untold, m.held[i].lost())
	}
	r.Abandon()
	if got := r.Untold(); got != untold {
		return fmt.Errorf("untold at the end %v, want %v", got, untold)
	}
	if all, tel := r.Credits(); all != 0 || tel != 0 {
		return fmt.Errorf("credits after the end: %d, %d", all, tel)
	}
	return nil
}

// appendBoth appends a record of a class to both, and before it now and then what is owed.
func appendBoth(r *Ring, m *model, c Class, evicting bool, rng *rand.Rand) error {
	k := kindFor(c, rng)
	got, want := 0, false
	if evicting {
		got, want = r.AcquireEvicting(c, 1), m.evict(c)
	} else {
		got, want = r.Acquire(c, 1), m.fits(c)
	}
	if (got == 1) != want {
		return fmt.Errorf("credit for class %d: got %d, model says %v", c, got, want)
	}
	var rec event.Record
	if r.Owes() != m.owes() {
		return fmt.Errorf("owes: %v, model says %v", r.Owes(), m.owes())
	}
	if got == 1 && m.owes() && rng.IntN(2) == 0 {
		counts := m.owed
		m.owed = event.LossCounts{}
		m.rel.Announced++
		r.AnnounceOwed(0)
		m.push(Announcement, event.Loss, counts)
		m.held[len(m.held)-1].marker = true
	}
	if got == 1 {
		var counts event.LossCounts
		rec.Reset(k)
		if k == event.Loss {
			counts[rng.IntN(len(counts))] = 1 + rng.Uint64N(9)
			rec.SetLoss(event.LossRateLimited, 0, &counts, 1, 1)
		}
		r.Put(r.Claim(1), c, &rec)
		m.push(c, k, counts)
	}
	return nil
}

func kindFor(c Class, rng *rand.Rand) event.Kind {
	switch c {
	case Priority, Unanswered:
		return event.Kind(rng.IntN(2))
	case Announcement:
		return event.Loss
	}
	return event.PolicyDeny + event.Kind(c-PolicyDeny)
}

func compareRun(run []event.Record, m *model, limit int, said map[event.Seq]string) error {
	first := int(m.next) - len(m.held) + m.lent
	size, toEnd := m.size, len(m.held)
	if first < m.from {
		size, toEnd = m.former, m.from-first
	}
	want := min(len(m.held)-m.lent, limit, size-first&(size-1), toEnd)
	if len(run) != want {
		return fmt.Errorf("read %d records, want %d", len(run), want)
	}
	for i := range run {
		it := m.held[m.lent+i]
		if run[i].Seq() != it.seq || run[i].Kind() != it.kind {
			return fmt.Errorf("read %v with sequence %d, want %v with %d", run[i].Kind(), run[i].Seq(), it.kind, it.seq)
		}
		says := it.kind.String()
		if it.kind == event.Loss {
			if run[i].LossCounts() != it.counts {
				return fmt.Errorf("loss record counts %v, want %v", run[i].LossCounts(), it.counts)
			}
			says = fmt.Sprint(it.counts)
		}
		if before, ok := said[it.seq]; ok && before != says {
			return fmt.Errorf("P5: number %d was %s, and is %s", it.seq, before, says)
		}
		said[it.seq] = says
		m.handed = max(m.handed, it.seq)
	}
	m.lent += want
	return nil
}

func compareState(r *Ring, m *model) error {
	s := r.State()
	var inFlight [event.NumKinds]uint64
	for _, it := range m.held {
		inFlight[it.kind]++
	}
	at := func(i int) event.Seq {
		if i < len(m.held) {
			return m.held[i].seq
		}
		return m.next
	}
	switch all, tel := r.Credits(); {
	case s.Floor != at(0) || s.Sent != at(m.lent) || s.Next != m.next || r.Floor() != s.Floor:
		return fmt.Errorf("holds [%d, %d), sent %d, want [%d, %d) and %d", s.Floor, s.Next, s.Sent, at(0), m.next, at(m.lent))
	case s.Held != uint64(len(m.held)) || s.Unsent != uint64(len(m.held)-m.lent):
		return fmt.Errorf("%d held, %d unsent, want %d and %d", s.Held, s.Unsent, len(m.held), len(m.held)-m.lent)
	case s.InFlight != inFlight || s.Unanswered != uint64(m.is(Unanswered)):
		return fmt.Errorf("in flight %v, of them %d unanswered, want %v and %d", s.InFlight, s.Unanswered, inFlight, m.is(Unanswered))
	case s.Released != m.rel:
		return fmt.Errorf("released %+v, want %+v", s.Released, m.rel)
	case m.settled() != settled(r):
		return fmt.Errorf("settled: %v, want %v: %+v", settled(r), m.settled(), m.ceilings)
	case all != m.inFlight() || tel != m.of(Class.Telemetry):
		return fmt.Errorf("credits %d and %d in use for %d records", all, tel, len(m.held))
	}
	return nil
}
