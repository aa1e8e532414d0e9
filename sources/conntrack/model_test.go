package conntrack

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/sdk/event"
)

// life is what a test knows of an entry of its kernel, and what it was told of the session.
type life struct {
	entry                *ctnetlink.Entry
	session              uint64 // id, once it was told of
	beginLost, endLost   bool   // the kernel has dropped the events
	began, silent, ended int
	answered             int
	ends                 source.Event
	old                  bool // it was there before the stream
	gone, finished       bool // it is not in the table any more; its state says that it has ended
	replied              bool
}

// model changes a kernel at random, and checks what is told of it.
type model struct {
	*player
	random *rand.Rand
	tuples int              // of each protocol
	lives  map[uint32]*life // by number, see life
	nextID uint32
	lost   uint64
	losses int
}

func (m *model) change(times int) {
	for range times {
		switch choice := m.random.IntN(10); {
		case choice < 4 || len(m.entries) == 0:
			m.nextID++
			e := udp(m.random.IntN(m.tuples)) // tuples are used again
			if m.random.IntN(2) == 0 {
				e = tcp(m.random.IntN(m.tuples))
			}
			if older := m.find(e); older != nil {
				m.remove(older)
			}
			if m.random.IntN(2) == 0 { // else the entry has the number of those of its tuple before
				e.ID = 1<<16 + m.nextID
			}
			e.OrigPackets = 1
			binary.BigEndian.PutUint32(e.Reply.Dst[:], m.nextID) // by which it is known: it is translated
			before := m.drops
			m.begin(e)
			m.lives[m.nextID] = &life{entry: e, beginLost: m.drops > before}
		case choice < 6:
			e := m.any()
			e.ReplyPackets++
			if e.Status&ctnetlink.SeenReply == 0 && !m.life(&e.Reply).finished {
				m.life(&e.Reply).replied = true
				state := e.State
				if state == ctnetlink.SynSent {
					state = ctnetlink.SynRecv
				}
				m.kernel.change(e, ctnetlink.SeenReply, state)
			}
		case choice < 8:
			e := m.any()
			if l := m.life(&e.Reply); e.State != ctnetlink.NoState && !l.finished {
				l.finished = true
				m.kernel.change(e, 0, ctnetlink.TimeWait)
			}
		default:
			m.remove(m.any())
		}
	}
}

func (m *model) any() *ctnetlink.Entry { return m.entries[m.random.IntN(len(m.entries))] }

func (m *model) remove(e *ctnetlink.Entry) {
	l := m.life(&e.Reply)
	l.gone = true
	e.Timeout = 0
	before := m.drops
	m.destroy(e, 0)
	l.endLost = m.drops > before
}

// life returns that of the entry whose server sends this, nil if there is none.
func (m *model) life(reply *packet.Tuple) *life {
	return m.lives[binary.BigEndian.Uint32(reply.Dst[:])]
}

// take checks events as they come.
func (m *model) take(events []source.Event) {
	for i := range events {
		e := &events[i]
		if e.What == source.Lost {
			m.losses++
			m.lost += e.Lost[event.SessionClose]
			continue
		}
		l := m.life(&e.Reply)
		if l == nil || uint32(e.Session) != l.entry.ID {
			m.t.Fatalf("event about no entry: %+v", e)
		}
		if l.session == 0 {
			l.session = e.Session
		}
		if l.session != e.Session {
			m.t.Errorf("the session %x has the id %x, too", l.session, e.Session)
		}
		switch e.What {
		case source.Began:
			if e.Silent {
				l.silent++
			} else {
				l.began++
			}
			if l.ended > 0 || l.began > 1 || l.silent > 1 {
				m.t.Errorf("entry %d has begun again: %+v", e.Session&0xffffffff, l)
			}
		case source.Answered:
			l.answered++
			if l.began+l.silent == 0 || l.ended > 0 || l.answered > l.began+l.silent {
				m.t.Errorf("entry %d was answered: %+v", e.Session&0xffffffff, l)
			}
		case source.Ended:
			l.ended++
			l.ends = *e
			if l.began+l.silent == 0 || l.ended > 1 {
				m.t.Errorf("entry %d has ended: %+v", e.Session&0xffffffff, l)
			}
		}
	}
}

// isMerged reports whether the session of an entry goes on as that of a later one: both have the same tuple and number, and the
// events between them were lost, so that nothing tells them apart.
func (m *model) isMerged(l *life) bool {
	for _, other := range m.lives {
		older, newer := l, other
		if !l.gone {
			older, newer = other, l
		}
		if older != newer && older.endLost && newer.beginLost && older.entry.Orig == newer.entry.Orig && older.entry.ID == newer.entry.ID &&
			!newer.gone && older.session != 0 && older.ended == 0 && newer.session == 0 {
			return true
		}
	}
	return false
}

// TestModel plays a kernel that changes while it is read, whose tuples are used again, and whose events are lost.
func TestModel(t *testing.T) {
	losses, merged, unseen := 0, 0, 0
	for seed := range uint64(100) {
		m := &model{player: play(t, 4096), random: rand.New(rand.NewPCG(seed, 1)), lives: make(map[uint32]*life)}
		m.tuples = []int{50, 200}[seed%2]
		m.change(20) // entries that are there before
		m.queue = nil
		for _, l := range m.lives {
			l.old = true
		}
		overruns := seed%3 != 0
		if overruns {
			m.room = 5 + m.random.IntN(20)
		}
		m.disturb = func() {
			if m.random.IntN(3) == 0 {
				m.change(m.random.IntN(4))
			}
		}
		for range 200 {
			m.change(m.random.IntN(10))
			if m.random.IntN(50) == 0 {
				m.interrupt = true
			}
			events, _ := m.step()
			m.take(events)
		}
		m.disturb = nil
		m.take(m.settle())

		for id, l := range m.lives {
			open := max(l.began, l.silent) > l.ended // one that was silent may have begun once more
			if want := !l.gone && !l.finished; open != want && m.isMerged(l) {
				merged++
				continue
			} else if open != want {
				t.Errorf("seed %d: entry %d: open %v, want %v: %+v", seed, id, open, want, l)
			}
			if told := l.began+l.silent > 0; told && (open || !overruns) && (l.answered > 0) != l.replied {
				t.Errorf("seed %d: entry %d: %d times answered, replied %v", seed, id, l.answered, l.replied)
			}
			if !overruns && !l.old && l.began != 1 {
				t.Errorf("seed %d: entry %d was told of %d times: %+v", seed, id, l.began, l)
			}
			if !overruns && l.ended == 1 && l.ends.Reason == event.CloseNone && l.silent > l.began {
				unseen++ // an answer brought it, and the event of its end might have been about an entry before it
			} else if !overruns && l.ended == 1 && l.ends.Reason == event.CloseNone {
				t.Errorf("seed %d: entry %d ended unseen: %+v", seed, id, l)
			}
		}
		if m.lost != uint64(m.drops) || !overruns && m.losses > 0 {
			t.Errorf("seed %d: %d losses of %d, the kernel has dropped %d", seed, m.losses, m.lost, m.drops)
		}
		if c := &m.stream.counters; c.unanswered.Load() != 0 || c.badAnswers.Load() != 0 {
			t.Errorf("seed %d: %d requests without an answer, %d bad answers", seed, c.unanswered.Load(), c.badAnswers.Load())
		}
		losses += m.losses
		checkSums(t, m.stream)
		if t.Failed() {
			return
		}
	}
	if losses < 200 || merged > losses/5 || unseen > 10 {
		t.Errorf("%d losses, %d sessions merged, %d ended unseen", losses, merged, unseen)
	}
}

// checkSums checks that everything that was read, and every session, is in a counter.
func checkSums(t *testing.T, s *Stream) {
	t.Helper()
	c := &s.counters
	if read, sum := c.messages.Load(), c.new.Load()+c.updates.Load()+c.destroys.Load()+c.other.Load()+c.malformed.Load(); read != sum {
		t.Errorf("%d messages were read, and %d are counted", read, sum)
	}
	open := uint64(0)
	s.Sessions(func(*source.Event) bool { open++; return true })
	if begun, sum := c.began.Load()+c.found.Load()+c.takenOver.Load(), c.ended.Load()-c.endedUnkept.Load()+open; begun != sum {
		t.Errorf("%d sessions have begun; %d have ended or are open", begun, sum)
	}
	if live := uint64(s.sessions.live); live != c.sessions.Load() || live < open {
		t.Errorf("%d sessions in the table, %d counted, %d open", live, c.sessions.Load(), open)
	}
}
