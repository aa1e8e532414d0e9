package feed

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// tape is a stream that tells of the same batch at each read.
type tape struct {
	fd    int
	batch []source.Event
}

func (s *tape) FD() int { return s.fd }

func (s *tape) Read(b *source.EventBatch, _, _ int64) (time.Duration, error) {
	b.N = copy(b.Events[:], s.batch)
	return -1, nil
}

// sessionTape is a tape of sessions.
type sessionTape struct {
	tape
	keeper
}

func (s *sessionTape) FD() int { return s.fd }

func (s *sessionTape) Read(b *source.EventBatch, now, wall int64) (time.Duration, error) {
	return s.tape.Read(b, now, wall)
}

// passes returns what carries that many events per call: sessions that begin, are answered and end, each joined to a rule.
func passes(tb testing.TB) (events int, pass func()) {
	kept := make([]source.Kept, source.EventBatchSize/3)
	rule := &source.Rule{Name: "lan-out"}
	sessions, rules := new(sessionTape), new(tape)
	for i := range kept {
		s := masqueraded(&kept[i])
		s.Session, s.Flow.SrcPort = uint64(i), uint16(i)
		sessions.batch = append(sessions.batch, s, as(s, source.Answered), as(s, source.Ended))
		rules.batch = append(rules.batch, source.Event{What: source.Accepted, Flow: s.Flow, Rule: rule, In: lan0, Out: wan0})
	}
	r := newRig(tb, roomy, noLimit, sessions, rules)
	r.begin()
	return len(sessions.batch) + len(rules.batch), func() {
		if _, err := r.pass(); err != nil {
			tb.Fatal(err)
		}
		for {
			got := r.ring.Next(256)
			if len(got) == 0 {
				return
			}
			if err := r.ring.Ack(got[len(got)-1].Seq()); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// TestP7Allocations pins that events are carried without an allocation.
func TestP7Allocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	_, pass := passes(t)
	for range 10 {
		pass()
	}
	if n := testing.AllocsPerRun(100, pass); n > 0 {
		t.Errorf("%.1f allocations per pass", n)
	}
}

func BenchmarkFeed(b *testing.B) {
	events, pass := passes(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += events {
		pass()
	}
}
