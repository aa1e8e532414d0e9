package conntrack

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestStart opens a stream on a table with sessions.
func TestStart(t *testing.T) {
	p := play(t, 100)
	old, replied, ended := tcp(1), udp(2), tcp(3)
	replied.Status, replied.OrigPackets, replied.Start = ctnetlink.SeenReply, 3, startTime-1e9
	ended.State, ended.OrigPackets = ctnetlink.TimeWait, 5
	p.entries = append(p.entries, old, replied, ended)
	events := p.expect("start", source.Began, source.Began, source.Answered)
	if !events[0].Silent || !events[1].Silent || events[1].Created != startTime-1e9 || events[0].Session != 1<<32|1 || events[1].Session != 2<<32|2 {
		t.Errorf("%+v", events)
	}
	listed := 0
	p.stream.Sessions(func(e *source.Event) bool {
		listed++
		if !e.Silent || e.What != source.Began || e.Answered != (e.Flow == replied.Orig) {
			t.Errorf("listed %+v", e)
		}
		return true
	})
	if c := &p.stream.counters; listed != 2 || c.found.Load() != 2 || c.foundEnded.Load() != 1 || c.began.Load() != 0 {
		t.Errorf("%d listed, %d found, %d ended, %d began", listed, c.found.Load(), c.foundEnded.Load(), c.began.Load())
	}
	ended.OrigPackets = 6
	p.destroy(ended, 0)
	p.destroy(replied, 0)
	if e := p.expect("destroyed", source.Ended)[0]; e.ClientPackets != 3 || e.Flow != replied.Orig {
		t.Errorf("%+v", e)
	}
	if late := p.stream.counters.latePackets.Load(); late != 1 {
		t.Errorf("%d late packets", late)
	}

	// The kernel sends no event of the other one: it is looked for.
	old.OrigPackets = 8
	p.clock += mutePeriod
	p.expect("looked at again")
	p.forget(old)
	p.expect("not due")
	p.clock += mutePeriod
	if e := p.expect("gone", source.Ended)[0]; e.ClientPackets != 8 || e.Reason != event.CloseNone {
		t.Errorf("%+v", e)
	}
	if _, again := p.step(); again >= 0 {
		t.Errorf("again in %v, though there is no session without events", again)
	}
	checkSums(t, p.stream)
}

// TestNewWhileDumped has an entry that a dump brings before its event is there.
func TestNewWhileDumped(t *testing.T) {
	p := play(t, 100)
	e := tcp(1)
	p.entries = append(p.entries, e)
	p.step() // asks for the dump
	p.step() // receives it
	events, _ := p.step()
	p.send(ctnetlink.New, 0, e)
	again := p.expect("its event", source.Began)[0]
	if !events[0].Silent || again.Silent || again.Session != events[0].Session || again.Kept != events[0].Kept {
		t.Errorf("%+v, then %+v", events[0], again)
	}
	p.destroy(e, 0)
	p.expect("destroyed", source.Ended)
	checkSums(t, p.stream)
}

// TestTombstone has entries destroyed, and destroyed and made again, between the making of a dump and its application.
func TestTombstone(t *testing.T) {
	p := play(t, 100)
	first, second := tcp(1), tcp(2)
	p.entries = append(p.entries, first, second)
	p.step() // asks for the dump
	p.step() // receives it
	p.destroy(first, 0)
	p.destroy(second, 0)
	again := tcp(2)
	again.ID = 22
	p.begin(again)
	events := p.expect("after the dump", source.Began)
	if uint32(events[0].Session) != 22 || events[0].Silent {
		t.Errorf("%+v", events)
	}
	if asked := p.stream.counters.gets.Load(); asked != 1 {
		t.Errorf("%d entries were asked for", asked)
	}
	checkSums(t, p.stream)
}

// TestOverrun loses the beginning of one session, the end of another, and the end of a connection of a third.
func TestOverrun(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	stays, goes, ends := p.begin(udp(1)), p.begin(udp(2)), p.begin(tcp(3))
	p.expect("begun", source.Began, source.Began, source.Began)
	p.room = 1
	p.clock = 1000
	p.kernel.change(stays, ctnetlink.SeenReply, ctnetlink.NoState) // fits
	p.destroy(goes, 0)
	p.kernel.change(ends, ctnetlink.SeenReply, ctnetlink.Close)
	fresh := p.begin(udp(4))
	brief := p.begin(tcp(5))
	brief.State, brief.ReplyPackets, brief.OrigPackets = ctnetlink.TimeWait, 2, 3
	events := p.settle()
	if diff := cmp.Diff([]source.What{source.Answered, source.Lost}, whats(events)[:2]); diff != "" {
		t.Errorf("the loss (-want +got):\n%s", diff)
	}
	lost := events[1]
	if want := (event.LossCounts{event.SessionOpen: 4, event.SessionClose: 4}); lost.Lost != want || lost.Created >= lost.Time || lost.Created > startTime+1000 {
		t.Errorf("%+v", lost)
	}
	type seen struct {
		What    source.What
		Entry   uint32
		Reason  event.CloseReason
		Packets uint64
	}
	var got []seen
	for _, e := range events[2:] {
		got = append(got, seen{e.What, uint32(e.Session), e.Reason, e.ClientPackets})
		if e.Silent {
			t.Errorf("silent: %+v", e)
		}
	}
	want := []seen{
		{source.Answered, ends.ID, 0, 0}, {source.Ended, ends.ID, event.CloseRST, 0},
		{source.Began, fresh.ID, 0, 0},
		{source.Began, brief.ID, 0, 0}, {source.Ended, brief.ID, event.CloseFIN, 3},
		{source.Ended, goes.ID, event.CloseNone, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the loss (-want +got):\n%s", diff)
	}
	if c := &p.stream.counters; c.overruns.Load() != 1 || c.lost.Load() != 4 || c.closedUnseen.Load() != 1 {
		t.Errorf("%d overruns, %d lost, %d closed unseen", c.overruns.Load(), c.lost.Load(), c.closedUnseen.Load())
	}
	checkSums(t, p.stream)
}

// TestReusedTuple loses the end of a session and the beginning of the next one of the same tuple.
func TestReusedTuple(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	e := p.begin(udp(1))
	p.expect("begun", source.Began)
	p.forget(e)
	next := udp(1)
	next.ID = 11
	p.entries = append(p.entries, next)
	p.stream.resync.wanted = true
	events := p.expect("after a dump", source.Ended, source.Began)
	if uint32(events[0].Session) != 1 || events[0].Reason != event.CloseNone || uint32(events[1].Session) != 11 {
		t.Errorf("%+v", events)
	}
	// The event of a beginning says as much.
	third := udp(1)
	third.ID = 12
	p.forget(next)
	p.begin(third)
	p.expect("begun", source.Ended, source.Began)
	checkSums(t, p.stream)
}

// TestDumpFails has dumps that are interrupted, that stall, and that the kernel refuses.
func TestDumpFails(t *testing.T) {
	p := play(t, 100)
	p.entries = append(p.entries, tcp(1))
	p.interrupt = true
	p.expect("interrupted", source.Began)
	if dumps := p.stream.counters.dumps.Load(); dumps != 2 {
		t.Errorf("%d dumps", dumps)
	}
	p.stream.resync.wanted = true
	p.step()
	p.dumping = false // nothing comes any more
	p.forget(p.entries[0])
	var ended []source.Event
	for range 10_000 {
		events, again := p.step()
		if ended = append(ended, events...); again < 0 {
			break
		}
		p.clock += int64(again)
	}
	if len(ended) != 1 || ended[0].What != source.Ended || p.dials != 2 || p.stream.counters.dumpsFailed.Load() != 1 {
		t.Errorf("%v, opened %d times, %d failed", whats(ended), p.dials, p.stream.counters.dumpsFailed.Load())
	}
	checkSums(t, p.stream)
}

// TestAskWhileDumpStarts ends a connection in the Read that asks for a dump, too: its counters are asked for all the same.
func TestAskWhileDumpStarts(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	e := p.begin(tcp(1))
	p.kernel.change(e, ctnetlink.SeenReply, ctnetlink.SynRecv)
	p.expect("began", source.Began, source.Answered)
	p.kernel.change(e, 0, ctnetlink.TimeWait)
	p.kernel.overrun, p.kernel.congested = true, true // the queue was full, too
	p.kernel.drops++
	p.settle()
	c := &p.stream.counters
	if c.gets.Load() != 1 || c.unanswered.Load() != 0 || c.badAnswers.Load() != 0 || c.dumps.Load() != 2 {
		t.Errorf("gets %d, unanswered %d, bad answers %d, dumps %d", c.gets.Load(), c.unanswered.Load(), c.badAnswers.Load(), c.dumps.Load())
	}
}

// TestLossBeforeFirstEvent loses events before one was read.
func TestLossBeforeFirstEvent(t *testing.T) {
	p := play(t, 100)
	p.kernel.room = 1
	p.begin(udp(1))
	p.begin(udp(2))
	for _, e := range p.settle() {
		if e.What == source.Lost && e.Created < startTime {
			t.Errorf("lost since %d", e.Created)
		}
	}
}

// TestMuteDumps counts the dumps of a period for the sake of sessions without events.
func TestMuteDumps(t *testing.T) {
	p := play(t, 100)
	e := udp(1)
	p.kernel.entries = append(p.kernel.entries, e)
	p.settle()
	before := p.stream.counters.dumps.Load()
	if before != 1 {
		t.Errorf("%d dumps at the start", before)
	}
	p.clock = p.stream.resync.muteAt + 1
	p.settle()
	if n := p.stream.counters.dumps.Load() - before; n != 1 {
		t.Errorf("%d dumps in a period", n)
	}
}

// TestAnsweredBeforeItsBeginning has a dump of the start bring a session that was answered, before the event of its beginning.
func TestAnsweredBeforeItsBeginning(t *testing.T) {
	p := play(t, 100)
	e := udp(1)
	p.entries = append(p.entries, e)
	p.step() // asks for the dump
	told := *e
	e.Status = ctnetlink.SeenReply
	p.step() // receives it
	p.step()
	p.send(ctnetlink.New, 0, &told)
	p.expect("its beginning, told", source.Began, source.Answered)
	checkSums(t, p.stream)
}

// TestUnanswered has the kernel not answer what a dump wants to know: another dump asks again.
func TestUnanswered(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	e := p.begin(udp(1))
	p.expect("begun", source.Began)
	p.forget(e)
	p.stream.resync.wanted = true
	p.unanswered = 1
	p.expect("gone", source.Ended)
	if c := &p.stream.counters; c.unanswered.Load() != 1 || c.dumps.Load() != 3 {
		t.Errorf("%d requests without an answer, %d dumps", c.unanswered.Load(), c.dumps.Load())
	}
}
