package conntrack

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/ctmessage"
	"github.com/rtflow/pipelined/sdk/event"
)

// expect settles, and compares what has happened.
func (p *player) expect(what string, want ...source.What) []source.Event {
	p.t.Helper()
	events := p.settle()
	if diff := cmp.Diff(want, whats(events)); diff != "" {
		p.t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
	return events
}

func TestLife(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	e := p.begin(tcp(1))
	e.Start = startTime - 5e9
	began := p.expect("began", source.Began)[0]
	if began.Flow != e.Orig || began.Reply != e.Reply || uint32(began.Session) != e.ID || began.Session>>32 != 1 || began.Silent {
		t.Errorf("%+v", began)
	}
	began.Kept.App = 77
	p.kernel.change(e, ctnetlink.SeenReply, ctnetlink.SynRecv)
	answered := p.expect("answered", source.Answered)[0]
	if answered.Kept != began.Kept || answered.Session != began.Session || answered.Kept.App != 77 {
		t.Errorf("%+v", answered)
	}
	p.kernel.change(e, 0, ctnetlink.Established)
	p.kernel.change(e, 0, ctnetlink.FinWait)
	p.kernel.change(e, 0, ctnetlink.LastAck)
	p.expect("nothing new")
	e.OrigPackets, e.OrigBytes, e.ReplyPackets, e.ReplyBytes = 5, 500, 4, 400
	e.Time = startTime + 7e9
	p.kernel.change(e, 0, ctnetlink.TimeWait)
	want := source.Event{
		What: source.Ended, Answered: true, Reason: event.CloseFIN, Flow: e.Orig, Reply: e.Reply, Time: startTime + 7e9, Created: startTime - 5e9,
		Session: began.Session, Kept: began.Kept, ClientPackets: 5, ClientBytes: 500, ServerPackets: 4, ServerBytes: 400,
	}
	if diff := cmp.Diff(want, p.expect("ended", source.Ended)[0]); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
	p.stream.Sessions(func(e *source.Event) bool { t.Errorf("a session that has ended: %+v", e); return true })
	e.ReplyPackets, e.ReplyBytes = 6, 1000
	p.destroy(e, 0)
	p.expect("destroyed")
	if c := &p.stream.counters; c.latePackets.Load() != 2 || c.lateBytes.Load() != 600 || c.gets.Load() != 1 || c.sessions.Load() != 0 {
		t.Errorf("late: %d packets, %d bytes; %d gets, %d sessions", c.latePackets.Load(), c.lateBytes.Load(), c.gets.Load(), c.sessions.Load())
	}
	checkSums(t, p.stream)
}

// TestReasons destroys entries in every state.
func TestReasons(t *testing.T) {
	for _, c := range []struct {
		name    string
		entry   func(int) *ctnetlink.Entry
		state   ctnetlink.State
		timeout uint32
		port    uint32
		want    event.CloseReason
	}{
		{"UDP, expired", udp, ctnetlink.NoState, 0, 0, event.CloseTimeout},
		{"UDP, deleted", udp, ctnetlink.NoState, 10, 4711, event.CloseNone},
		{"UDP, made room", udp, ctnetlink.NoState, 10, 0, event.CloseAgeOut},
		{"SYN without answer", tcp, ctnetlink.SynSent, 0, 0, event.CloseTimeout},
		{"SYN refused", tcp, ctnetlink.Close, 120, 0, event.CloseRST},
		{"TCP, expired", tcp, ctnetlink.Established, 0, 0, event.CloseTimeout},
		{"TCP, deleted", tcp, ctnetlink.Established, 10, 4711, event.CloseNone},
		{"TCP, last ACK lost", tcp, ctnetlink.LastAck, 0, 0, event.CloseFIN},
		{"TCP, one FIN", tcp, ctnetlink.CloseWait, 0, 0, event.CloseTimeout},
		{"TCP, closed, deleted", tcp, ctnetlink.TimeWait, 100, 4711, event.CloseFIN},
	} {
		p := play(t, 100)
		p.stream.atEnd = false
		e := p.begin(c.entry(1))
		e.State, e.Timeout = c.state, c.timeout
		p.destroy(e, c.port)
		if got := p.expect(c.name, source.Began, source.Ended)[1].Reason; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestAtDestroy ends no connection while its entry is there.
func TestAtDestroy(t *testing.T) {
	p := play(t, 100)
	p.stream.atEnd = false
	e := p.begin(tcp(1))
	p.kernel.change(e, ctnetlink.SeenReply, ctnetlink.Close)
	p.expect("reset", source.Began, source.Answered)
	e.Start, e.Stop = startTime, startTime+1e15
	p.destroy(e, 0)
	if ended := p.expect("destroyed", source.Ended)[0]; ended.Time != e.Stop || ended.Reason != event.CloseRST {
		t.Errorf("%+v", ended)
	}
	checkSums(t, p.stream)
}

// TestDestroyedBeforeAsked has the entry of an ended connection destroyed before its counters are asked for, and while it is.
func TestDestroyedBeforeAsked(t *testing.T) {
	p := play(t, 100)
	e := p.begin(tcp(1))
	p.kernel.change(e, 0, ctnetlink.TimeWait)
	e.OrigPackets = 9
	p.destroy(e, 0)
	if ended := p.expect("in one batch", source.Began, source.Ended)[1]; ended.ClientPackets != 9 || ended.Reason != event.CloseFIN {
		t.Errorf("%+v", ended)
	}
	e = p.begin(tcp(2))
	p.kernel.change(e, 0, ctnetlink.Close)
	p.forget(e) // the event is sent when the entry was asked for
	p.expect("gone when asked", source.Began)
	e.OrigPackets = 7
	p.send(ctnetlink.Destroy, 0, e)
	if ended := p.expect("event", source.Ended)[0]; ended.ClientPackets != 7 || ended.Reason != event.CloseRST {
		t.Errorf("%+v", ended)
	}
	checkSums(t, p.stream)
}

func TestTableFull(t *testing.T) {
	p := play(t, 3)
	p.expect("start")
	for n := range 5 {
		p.begin(udp(n + 1))
	}
	events := p.expect("begun", source.Began, source.Began, source.Began, source.Began, source.Began)
	for i, e := range events {
		if (e.Kept == nil) != (i >= 3) || uint32(e.Session) != uint32(i+1) {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	p.kernel.change(p.entries[4], ctnetlink.SeenReply, ctnetlink.NoState)
	p.destroy(p.entries[4], 0)
	if e := p.expect("told without what is kept", source.Ended)[0]; e.Kept != nil || e.Session != events[4].Session || e.Flow != events[4].Flow {
		t.Errorf("the end of a session that there was no room for: %+v", e)
	}
	p.destroy(p.entries[0], 0)
	p.expect("there is room", source.Ended)
	p.begin(udp(6))
	if e := p.expect("kept", source.Began)[0]; e.Kept == nil {
		t.Error("there was room")
	}
	p.stream.resync.wanted = true
	p.expect("a dump brings the one that was told already")
	if c := &p.stream.counters; c.full.Load() != 3 || c.unknown.Load() != 1 || c.endedUnkept.Load() != 1 {
		t.Errorf("%d times full, %d unknown", c.full.Load(), c.unknown.Load())
	}
	checkSums(t, p.stream)
}

// TestKeptStays checks that what is kept with a session is not used for another one before the next Read.
func TestKeptStays(t *testing.T) {
	p := play(t, 3)
	for n := range 20 {
		p.destroy(p.begin(udp(n+1)), 0)
	}
	var kept []*source.Kept
	for range 10 {
		events, _ := p.step()
		kept = kept[:0]
		for _, e := range events {
			if e.What == source.Began {
				if slices.Contains(kept, e.Kept) {
					t.Fatalf("one place for two sessions of a batch")
				}
				kept = append(kept, e.Kept)
			}
		}
	}
	checkSums(t, p.stream)
}

// TestHostile feeds messages that no kernel sends.
func TestHostile(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	whole := ctmessage.Append(nil, ctnetlink.New, 0, tcp(1))
	other, start := nfnetlink.AppendMessage(nil, nfnetlink.Message{Type: 0x0204})
	other = nfnetlink.EndMessage(other, start)
	p.queue = append(p.queue, []byte{}, []byte("x"), whole[:len(whole)-1], whole[:20], other, slices.Concat(other, whole, whole, []byte("garbage")))
	p.expect("one is whole, twice", source.Began, source.Ended, source.Began)
	if c := &p.stream.counters; c.messages.Load() != 8 || c.malformed.Load() != 4 || c.other.Load() != 2 || c.repeated.Load() != 0 {
		t.Errorf("%d messages, %d malformed, %d others, %d repeated", c.messages.Load(), c.malformed.Load(), c.other.Load(), c.repeated.Load())
	}
	checkSums(t, p.stream)
}

// FuzzRead reads a datagram that is an event, an answer and a part of a dump.
func FuzzRead(f *testing.F) {
	e := tcp(1)
	e.State = ctnetlink.TimeWait
	for kind := ctnetlink.New; kind <= ctnetlink.Destroy; kind++ {
		f.Add(ctmessage.Append(nil, kind, 0, e))
	}
	f.Add(ctmessage.AppendDone(ctmessage.AppendError(ctmessage.AppendAnswer(nil, 1, 0, e), 2, 2), 1, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := play(t, 4)
		p.entries = append(p.entries, tcp(1))
		p.kernel.change(p.begin(tcp(2)), 0, ctnetlink.Close)
		p.queue = append(p.queue, b, b)
		p.answers = append(p.answers, b)
		p.stream.dumping = &fakeSocket{k: p.kernel, most: 1, receive: func() ([]byte, error) { return b, nil }}
		for range 20 {
			p.step()
		}
		checkSums(t, p.stream)
	})
}

func TestZones(t *testing.T) {
	s := &Stream{zones: []zoneRule{
		{mark: 0x10, mask: 0xf0, zone: 1},
		{byConntrackZone: true, conntrackZone: 5, zone: 2},
		{mark: 7, mask: ^uint32(0), byConntrackZone: true, conntrackZone: 6, zone: 3},
	}}
	for _, c := range []struct {
		mark   uint32
		ctZone uint16
		want   uint16
	}{{0x1f, 0, 1}, {0x20, 5, 2}, {7, 6, 3}, {7, 0, 0}, {8, 6, 0}, {0, 0, 0}} {
		if got := s.zone(&ctnetlink.Entry{Mark: c.mark, Zone: c.ctZone}); got != c.want {
			t.Errorf("mark %#x, conntrack zone %d: zone %d, want %d", c.mark, c.ctZone, got, c.want)
		}
	}
}

// TestSameTuple keeps entries apart that differ in what is no address and no port.
func TestSameTuple(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	for n := range 4 {
		e := udp(1)
		e.ID = uint32(n + 1)
		switch n {
		case 1:
			e.Zone = 9
		case 2, 3:
			e.Orig.Proto, e.Reply.Proto = packet.ProtoICMP, packet.ProtoICMP
			e.Orig.DstPort, e.Reply.SrcPort, e.Reply.DstPort = 0, e.Orig.SrcPort, 0
			e.ICMPType = uint8(8 + 5*(n-2)) // an echo, and a request for the time
		}
		p.begin(e)
	}
	p.expect("begun", source.Began, source.Began, source.Began, source.Began)
	checkSums(t, p.stream)
}

// TestReadIsBounded reads events that take no room in a batch.
func TestReadIsBounded(t *testing.T) {
	p := play(t, 100)
	p.expect("start")
	for range readAtATime + 1 {
		p.kernel.change(udp(1), 0, ctnetlink.NoState) // of no session that is known
	}
	before := p.stream.counters.messages.Load()
	if _, again := p.step(); again != 0 || p.stream.counters.messages.Load()-before != readAtATime {
		t.Errorf("again in %v, %d messages", again, p.stream.counters.messages.Load()-before)
	}
	p.expect("the rest")
	if read := p.stream.counters.messages.Load() - before; read != readAtATime+1 {
		t.Errorf("%d messages", read)
	}
}
