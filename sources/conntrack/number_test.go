package conntrack

import (
	"testing"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
)

// reused returns an entry of the tuple and the number of an older one: the kernel derives the number from the tuple and the memory of
// the entry, which the next one of the tuple mostly gets, see TestSessionIDs.
func reused(e *ctnetlink.Entry) *ctnetlink.Entry {
	next := *e
	next.State, next.Status, next.Start, next.Timeout = ctnetlink.SynSent, 0, e.Start+10e9, 120
	return &next
}

// TestOldDumpOfReusedNumber has a dump that is older than the end of an entry and the beginning of the next one of its number: it ends
// nothing.
func TestOldDumpOfReusedNumber(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	e := p.begin(tcp(1))
	e.Start = startTime
	p.kernel.change(e, ctnetlink.SeenReply, ctnetlink.SynRecv)
	p.kernel.change(e, 0, ctnetlink.TimeWait)
	p.expect("the first", source.Began, source.Answered, source.Ended)
	p.stream.resync.wanted = true
	p.step() // asks for the dump
	p.step() // receives it
	p.destroy(e, 0)
	next := p.begin(reused(e))
	p.expect("the second", source.Began)
	p.kernel.change(next, ctnetlink.SeenReply, ctnetlink.SynRecv)
	p.kernel.change(next, 0, ctnetlink.TimeWait)
	p.expect("its end", source.Answered, source.Ended)
}

// TestLostBeginningOfReusedNumber loses the beginning of a session whose entry has the number of one whose end was told.
func TestLostBeginningOfReusedNumber(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	e := p.begin(tcp(1))
	e.Start = startTime
	p.kernel.change(e, ctnetlink.SeenReply, ctnetlink.SynRecv)
	p.kernel.change(e, 0, ctnetlink.TimeWait)
	p.expect("the first", source.Began, source.Answered, source.Ended)
	p.forget(e)
	next := reused(e)
	next.State, next.Status = ctnetlink.Established, ctnetlink.SeenReply
	p.entries = append(p.entries, next)
	p.stream.resync.wanted = true // both events were lost
	p.expect("the second", source.Began, source.Answered)
}

// TestLostEndOfReusedNumber loses the end of a session, and has another one of its number begin.
func TestLostEndOfReusedNumber(t *testing.T) {
	p := play(t, 100)
	old := udp(2)
	p.entries = append(p.entries, old)
	p.expect("start", source.Began)
	e := p.begin(udp(1))
	p.expect("the first", source.Began)
	p.forget(e)
	p.begin(reused(e))
	p.expect("the second", source.Ended, source.Began)
	p.forget(old) // it has no events
	p.begin(reused(old))
	if again := p.expect("after one of the start", source.Ended, source.Began)[1]; again.Silent {
		t.Errorf("%+v", again)
	}
	checkSums(t, p.stream)
}

// whenAsked has something happen after the events were read, and before the kernel is asked for entries.
func (p *player) whenAsked(happens func()) {
	calls := 0
	p.disturb = func() {
		if calls++; calls == 3 { // what there is was received; that there is no more; and the requests are sent
			happens()
		}
	}
}

// TestAnswerAboutNextEntry has the kernel answer with the next entry of a number, before the events about the one before it are read.
func TestAnswerAboutNextEntry(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	e := p.begin(tcp(1))
	p.expect("begun", source.Began)
	e.OrigPackets = 5
	p.kernel.change(e, 0, ctnetlink.TimeWait)
	p.whenAsked(func() {
		next := reused(e)
		next.State, next.OrigPackets = ctnetlink.SynSent, 1
		p.destroy(e, 0)
		p.begin(next)
	})
	if ended := p.expect("ended, and the next begun", source.Ended, source.Began)[0]; ended.ClientPackets != 5 {
		t.Errorf("%+v", ended)
	}
	p.disturb = nil

	// One whose beginning was lost is asked for, since an event about it follows the dump that brought it.
	e = udp(2)
	p.entries = append(p.entries, e)
	p.stream.resync.wanted = true
	p.step() // asks for the dump
	p.step() // receives it
	p.kernel.change(e, ctnetlink.SeenReply, ctnetlink.NoState)
	p.whenAsked(func() {
		p.destroy(e, 0)
		p.begin(reused(e))
	})
	p.expect("the next has begun, and no other", source.Began)
	checkSums(t, p.stream)
}
