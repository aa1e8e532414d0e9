package sim

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// occurrence is an event that happened. Its identity is in the source address, which every frame has, and that of its
// session in the destination address.
type occurrence struct {
	id      uint32 // from 1
	kind    event.Kind
	zone    uint16
	session uint32
	at      int64 // Unix ns
	limited bool  // refused by the limiter
	flushed time.Time
	order   int  // of its flush, and within that; 0: not flushed
	before  bool // it was over before the schedule began: no ring had it
	lane    int
}

// event returns what a worker hands to the gate.
func (o *occurrence) event() admission.Event {
	e := admission.Event{
		Kind: o.kind, Time: o.at, InZone: o.zone,
		Flow: packet.Tuple{Family: packet.IPv4, Proto: 6, SrcPort: uint16(o.id), DstPort: uint16(o.session)},
	}
	binary.BigEndian.PutUint32(e.Flow.Src[:], o.id)
	binary.BigEndian.PutUint32(e.Flow.Dst[:], o.session)
	switch o.kind {
	case event.SessionOpen, event.SessionClose:
		e.SessionID, e.Action = uint64(o.session), event.ActionPermit
	case event.PolicyDeny:
		e.Policy, e.SessionID = o.id, uint64(o.session)
	case event.ScreenDrop:
		e.Screen = event.Screen(o.id % 4)
	case event.FilterLog:
		e.Filter, e.At = o.id, 2
	}
	return e
}

// record makes the record that a sink must be given of it, without the gate.
func (o *occurrence) record(rec *event.Record) {
	rec.Reset(o.kind)
	rec.SetTime(o.at)
	var src, dst [16]byte
	binary.BigEndian.PutUint32(src[:], o.id)
	binary.BigEndian.PutUint32(dst[:], o.session)
	rec.SetFlow(event.FamilyIPv4, 6, &src, &dst, uint16(o.id), uint16(o.session))
	rec.SetZones(o.zone, 0)
	switch o.kind {
	case event.SessionOpen, event.SessionClose:
		rec.SetSessionID(uint64(o.session))
		rec.SetAction(event.ActionPermit)
	case event.PolicyDeny:
		rec.SetDeny(o.id, uint64(o.session), 0)
	case event.ScreenDrop:
		rec.SetScreen(event.Screen(o.id % 4))
	case event.FilterLog:
		rec.SetFilter(o.id, 0, 2, 0, 0)
	}
}

// identity reads what record wrote.
func identity(rec *event.Record) (id, session uint32) {
	src, dst := rec.Src(), rec.Dst()
	if !src.Is4() || !dst.Is4() {
		return 0, 0
	}
	s, d := src.As4(), dst.As4()
	return binary.BigEndian.Uint32(s[:]), binary.BigEndian.Uint32(d[:])
}

// history holds all events that have happened, admitted or not.
type history struct {
	mu     sync.Mutex
	all    []*occurrence
	live   []*occurrence // sessions, by their opening
	orders int
}

func (t *history) get(id uint32) *occurrence {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == 0 || int(id) > len(t.all) {
		return nil
	}
	return t.all[id-1]
}

// happen makes an event on a lane. A session that ends is one that lives, and whose beginning is in the rings or before
// its end on the same lane; where there is none, one begins.
func (t *history) happen(r *rand.Rand, k event.Kind, zones, lane int) *occurrence {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := &occurrence{
		id: uint32(len(t.all) + 1), kind: k, zone: uint16(r.IntN(zones + 2)), at: time.Now().UnixNano(), lane: lane,
	}
	o.session = o.id
	if k == event.SessionClose {
		from := 0
		if len(t.live) > 0 {
			// One of the youngest: taking it out of a large table is cheap.
			from = len(t.live) - 1 - r.IntN(min(len(t.live), 4096))
		}
		i := slices.IndexFunc(t.live[from:], func(o *occurrence) bool { return o.lane == lane || o.order > 0 })
		if i < 0 {
			o.kind = event.SessionOpen
		} else {
			o.session = t.live[from+i].session
			t.live = slices.Delete(t.live, from+i, from+i+1)
		}
	}
	if o.kind == event.SessionOpen {
		t.live = append(t.live, o)
	}
	t.all = append(t.all, o)
	return o
}

// begin makes sessions that have begun before the schedule does.
func (t *history) begin(n int) {
	for range n {
		id := uint32(len(t.all) + 1)
		t.orders++
		o := &occurrence{id: id, session: id, kind: event.SessionOpen, at: time.Now().UnixNano(), order: t.orders, before: true}
		t.all, t.live = append(t.all, o), append(t.live, o)
	}
}

// flush notes that a lane flushes, and in which order its events go in.
func (t *history) flush(w *worker) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range w.pending {
		t.orders++
		o.order, o.flushed = t.orders, time.Now()
	}
}

// sessions lists what lives at the moment of each step of the iteration.
func (t *history) sessions() iter.Seq[*event.Record] {
	return func(yield func(*event.Record) bool) {
		var rec event.Record
		for after := uint32(0); ; {
			t.mu.Lock()
			i, _ := slices.BinarySearchFunc(t.live, after+1, func(o *occurrence, session uint32) int { return cmp.Compare(o.session, session) })
			if i == len(t.live) {
				t.mu.Unlock()
				return
			}
			t.live[i].record(&rec)
			after = t.live[i].session
			t.mu.Unlock()
			if !yield(&rec) {
				return
			}
		}
	}
}

func (t *history) liveSessions() map[uint32]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := make(map[uint32]bool, len(t.live))
	for _, o := range t.live {
		m[o.session] = true
	}
	return m
}

// worker offers events to a lane.
type worker struct {
	index   int
	lane    *admission.Lane
	pending []*occurrence
}

// events returns what the worker hands to its lane.
func (w *worker) events() []admission.Event {
	list := make([]admission.Event, len(w.pending))
	for i, o := range w.pending {
		list[i] = o.event()
	}
	return list
}

// kindIn draws a kind.
func (m mix) kindIn(r *rand.Rand, of event.Kind) event.Kind {
	session := event.Kind(r.IntN(2))
	telemetry := event.PolicyDeny + event.Kind(r.IntN(3))
	switch m {
	case opening:
		return event.SessionOpen
	case sessionsOnly:
		return session
	case storm:
		return of
	case storms:
		if r.IntN(16) != 0 {
			return telemetry
		}
		return session
	default:
		return event.Kind(r.IntN(int(event.Loss)))
	}
}
