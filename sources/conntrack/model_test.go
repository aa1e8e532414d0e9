package conntrack

import (
	"math/rand/v2"
	"testing"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/sdk/event"
)

// life is what a test knows of an entry of its kernel, and what it was told of the session.
type life struct {
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
	lives  map[uint32]*life // by entry
	nextID int
	lost   uint64
	losses int
}

func (m *model) change(times int) {
	for range times {
		switch choice := m.random.IntN(10); {
		case choice < 4 || len(m.entries) == 0:
			m.nextID++
			e := udp(m.random.IntN(200)) // tuples are used again
			if m.random.IntN(2) == 0 {
				e = tcp(m.random.IntN(200))
			}
			if older := m.find(e); older != nil {
				m.remove(older)
			}
			e.ID = uint32(m.nextID)
			e.OrigPackets = 1
			m.lives[e.ID] = new(life)
			m.begin(e)
		case choice < 6:
			e := m.any()
			e.ReplyPackets++
			if e.Status&ctnetlink.SeenReply == 0 && !m.lives[e.ID].finished {
				m.lives[e.ID].replied = true
				state := e.State
				if state == ctnetlink.SynSent {
					state = ctnetlink.SynRecv
				}
				m.kernel.change(e, ctnetlink.SeenReply, state)
			}
		case choice < 8:
			e := m.any()
			if l := m.lives[e.ID]; e.State != ctnetlink.NoState && !l.finished {
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
	m.lives[e.ID].gone = true
	e.Timeout = 0
	m.destroy(e, 0)
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
		l := m.lives[uint32(e.Session)]
		if l == nil {
			m.t.Fatalf("event about no entry: %+v", e)
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
			if l.began+l.silent == 0 || l.ended > 0 || l.answered > 1 {
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

// TestModel plays a kernel that changes while it is read, whose tuples are used again, and whose events are lost.
func TestModel(t *testing.T) {
	losses := 0
	for seed := range uint64(100) {
		m := &model{player: play(t, 4096), random: rand.New(rand.NewPCG(seed, 1)), lives: make(map[uint32]*life)}
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
			open := l.began+l.silent > l.ended
			if want := !l.gone && !l.finished; open != want {
				t.Errorf("seed %d: entry %d: open %v, want %v: %+v", seed, id, open, want, l)
			}
			if told := l.began+l.silent > 0; told && (open || !overruns) && (l.answered > 0) != l.replied {
				t.Errorf("seed %d: entry %d: %d times answered, replied %v", seed, id, l.answered, l.replied)
			}
			if !overruns && !l.old && l.began != 1 {
				t.Errorf("seed %d: entry %d was told of %d times: %+v", seed, id, l.began, l)
			}
			if !overruns && l.ended == 1 && l.ends.Reason == event.CloseNone {
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
	if losses < 200 {
		t.Errorf("only %d losses", losses)
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
	if begun, sum := c.began.Load()+c.found.Load(), c.ended.Load()+open; begun != sum {
		t.Errorf("%d sessions have begun; %d have ended or are open", begun, sum)
	}
	if live := uint64(s.sessions.live); live != c.sessions.Load() || live < open {
		t.Errorf("%d sessions in the table, %d counted, %d open", live, c.sessions.Load(), open)
	}
}
