package conntrack

import (
	"bytes"
	"errors"
	"iter"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/sdk/event"
)

// shifted adds a hundred to every id.
type shifted struct{}

func (shifted) Zone(id uint16) (uint16, bool) { return id + 100, true }
func (shifted) Policy(id uint32) uint32       { return id + 100 }
func (shifted) Interface(id uint32) uint32    { return id + 100 }
func (shifted) Application(id uint16) uint16  { return id + 100 }

// pieces returns what a stream keeps, and of how many sessions it would have told the end.
func (p *player) pieces() (list [][]byte, ends uint64) {
	ends = p.stream.keep(func(piece []byte) bool {
		list = append(list, bytes.Clone(piece))
		return true
	})
	return list, ends
}

func each(list [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, b := range list {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// next returns the stream of the next run, on the same table of the kernel.
func (p *player) next(limit int) *player {
	p.t.Helper()
	list, _ := p.pieces()
	return p.opens(limit, 0, list)
}

// opens returns a stream that is opened at a time of the clock and takes pieces over.
func (p *player) opens(limit int, clock int64, list [][]byte) *player {
	p.t.Helper()
	n := play(p.t, limit)
	n.entries, n.clock = p.entries, clock
	n.stream.resync = newResync(n.stream.resync.dial, startTime+clock)
	if err := n.stream.takeOver(each(list), shifted{}); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// TestTakeOver stops a stream, changes the table, and goes on with another: what lives goes on, what has gone is closed once, what began
// meanwhile begins, also if it has ended and its entry is still there.
func TestTakeOver(t *testing.T) {
	p := play(t, 100)
	old := tcp(1)
	p.entries = append(p.entries, old)
	p.settle()
	lives, gone, ended, closed := p.begin(tcp(2)), p.begin(udp(3)), p.begin(tcp(4)), p.begin(tcp(5))
	for _, e := range p.settle() {
		e.Kept.Policy, e.Kept.InZone, e.Kept.Interface, e.Kept.App, e.Kept.Carried = 7, 8, 9, 10, true
	}
	p.change(closed, ctnetlink.SeenReply, ctnetlink.TimeWait)
	p.settle()
	if _, ends := p.pieces(); ends != 4 {
		t.Errorf("the ends of %d sessions are not told, want 4", ends)
	}
	before := make(map[packet.Tuple]uint64)
	p.stream.Sessions(func(e *source.Event) bool { before[e.Flow] = e.Session; return true })

	p.forget(gone)
	ended.State, ended.Status, ended.OrigPackets = ctnetlink.TimeWait, ctnetlink.SeenReply, 11
	began, brief := tcp(6), tcp(7)
	brief.State, brief.Status = ctnetlink.TimeWait, ctnetlink.SeenReply
	p.entries = append(p.entries, began, brief)

	n := p.next(100)
	events := n.settle()
	got := make(map[packet.Tuple]string)
	for i := range events {
		e := &events[i]
		got[e.Flow] += e.What.String() + " "
		if e.What == source.Ended && (e.Flow == ended.Orig && (e.ClientPackets != 11 || e.Reason != event.CloseFIN) || e.Flow == gone.Orig && e.Reason != event.CloseNone) {
			t.Errorf("it ended: %+v", e)
		}
		if id, known := before[e.Flow]; known && e.Session != id {
			t.Errorf("session %x is %x now", id, e.Session)
		}
	}
	for what, c := range map[string]struct {
		entry *ctnetlink.Entry
		want  string
	}{
		"from before the first run": {old, ""}, "lives": {lives, ""}, "has gone": {gone, "ended "}, "has ended": {ended, "answered ended "},
		"had ended": {closed, ""}, "began": {began, "began "}, "began and ended": {brief, "began answered ended "},
	} {
		if got[c.entry.Orig] != c.want {
			t.Errorf("%s: %q, want %q", what, got[c.entry.Orig], c.want)
		}
	}
	n.destroy(lives, 0)
	n.destroy(old, 0)
	n.destroy(closed, 0)
	for _, e := range n.settle() {
		k := e.Kept
		if e.Flow == lives.Orig && (k.Policy != 107 || k.InZone != 108 || k.Interface != 109 || k.App != 110 || !k.Carried) {
			t.Errorf("what the feed has kept is %+v", k)
		}
		if e.What != source.Ended || e.Flow == closed.Orig {
			t.Errorf("%v %+v", e.What, e.Flow)
		}
	}
	if c := &n.stream.counters; c.takenOver.Load() != 4 || c.began.Load() != 2 || c.found.Load() != 0 {
		t.Errorf("%d taken over, %d began, %d found", c.takenOver.Load(), c.began.Load(), c.found.Load())
	}
	if a, b := n.stream.serial, p.stream.serial; a <= b {
		t.Errorf("serial number %d behind %d", a, b)
	}
	checkSums(t, n.stream)
}

// TestTakeOverUnsettled stops a stream that does not know all sessions yet: those that the next one finds may be old.
func TestTakeOverUnsettled(t *testing.T) {
	p := play(t, 100)
	p.entries = append(p.entries, tcp(1))
	n := p.next(100) // the first was never read
	for _, e := range n.settle() {
		if !e.Silent {
			t.Errorf("told: %v of %v", e.What, e.Flow)
		}
	}
	checkSums(t, n.stream)
}

// TestTakeOverUnsettledGap stops a stream before its first dump, or while its table was too small: what has begun while no run was there is
// told, also if it has ended; what was there before is not; what the kernel has no time of counts as older.
func TestTakeOverUnsettledGap(t *testing.T) {
	at := func(e *ctnetlink.Entry, start int64, ended bool) *ctnetlink.Entry {
		e.Start = startTime + start
		if ended {
			e.State, e.Status = ctnetlink.TimeWait, ctnetlink.SeenReply
		}
		return e
	}
	check := func(t *testing.T, n *player, want map[int]string) {
		t.Helper()
		got := make(map[packet.Tuple]string)
		for _, e := range n.settle() {
			if !e.Silent {
				got[e.Flow] += e.What.String() + " "
			}
		}
		for number, text := range want {
			if flow := tcp(number).Orig; got[flow] != text {
				t.Errorf("connection %d: %q, want %q", number, got[flow], text)
			}
		}
		checkSums(t, n.stream)
	}
	gap := func(p *player) {
		undated := tcp(5)
		undated.State, undated.Status = ctnetlink.TimeWait, ctnetlink.SeenReply
		p.entries = append(p.entries, at(tcp(2), 1000, false), at(tcp(3), 1000, true), undated)
	}
	later := func(p *player, opened int64) *player {
		list, _ := p.pieces()
		return p.opens(100, opened, list)
	}
	want := map[int]string{1: "", 2: "began ", 3: "began answered ended ", 4: "", 5: ""}

	t.Run("no dump", func(t *testing.T) {
		p := play(t, 100)
		p.entries = append(p.entries, at(tcp(1), -10, false), at(tcp(4), -10, true))
		gap(p)
		n := later(p, 2000)
		if !n.stream.counters.unsettled.Load() {
			t.Error("it counts as settled")
		}
		gap := later(n, 3000) // nor does this one come to a dump
		check(t, gap, want)
	})
	t.Run("no room", func(t *testing.T) {
		p := play(t, 1)
		p.begin(at(tcp(6), -5, false))
		p.settle()
		p.begin(at(tcp(1), 1, false)) // told, and in no table
		p.begin(at(tcp(4), 1, false))
		p.settle()
		gap(p)
		check(t, later(p, 2000), want)
	})
	t.Run("version 1", func(t *testing.T) {
		p := play(t, 100)
		live := p.begin(at(tcp(7), 1, false))
		p.step()
		list, _ := p.pieces()
		list[0] = append(append([]byte{1}, list[0][1:keptHead1]...), list[0][keptHead:]...)
		gap(p)
		n := p.opens(100, 2000, list)
		if n.stream.sessions.live != 1 || n.stream.counters.takenOver.Load() != 1 || !n.stream.resync.first {
			t.Errorf("%d sessions of %v", n.stream.sessions.live, live.Orig)
		}
		check(t, n, map[int]string{2: "", 3: "", 7: ""})
	})
}

// TestTakeOverSmaller has room for some: the end of the others is told all the same.
func TestTakeOverSmaller(t *testing.T) {
	p := play(t, 100)
	for i := range 20 {
		p.begin(udp(i + 1))
	}
	p.settle()
	n := p.next(10)
	n.settle()
	for _, e := range append([]*ctnetlink.Entry(nil), n.entries...) {
		n.destroy(e, 0)
	}
	ends := 0
	for _, e := range n.settle() {
		if e.What == source.Ended {
			ends++
		}
	}
	if ends != 20 {
		t.Errorf("%d ends, want 20", ends)
	}
}

// TestTakeOverRefuses has pieces that cannot be right: nothing is taken over.
func TestTakeOverRefuses(t *testing.T) {
	p := play(t, 100)
	p.begin(tcp(1))
	p.begin(tcp(2))
	p.settle()
	list, _ := p.pieces()
	whole := list[0]
	change := func(at int, to byte) []byte { b := bytes.Clone(whole); b[at] = to; return b }
	for name, b := range map[string][]byte{
		"empty": {}, "cut off": whole[:len(whole)-1], "another version": change(0, 9), "not live": change(len(whole)-1, 0),
		"no family": change(keptHead+15+37, 0),
	} {
		n := play(t, 100)
		if err := n.stream.takeOver(each([][]byte{whole, b}), shifted{}); err == nil || n.stream.sessions.live != 0 || !n.stream.resync.first {
			t.Errorf("%s: %v, %d sessions", name, err, n.stream.sessions.live)
		}
	}
	n := play(t, 100)
	failed := errors.New("the disk")
	err := n.stream.takeOver(func(yield func([]byte, error) bool) { _ = yield(whole, nil) && yield(nil, failed) }, shifted{})
	if !errors.Is(err, failed) || n.stream.sessions.live != 0 {
		t.Errorf("%v, %d sessions", err, n.stream.sessions.live)
	}
}

func FuzzTakeOver(f *testing.F) {
	p := play(f, 100)
	p.begin(tcp(1))
	p.settle()
	list, _ := p.pieces()
	f.Add(list[0])
	f.Add(append(bytes.Clone(list[0]), list[0][keptHead:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := play(t, 100)
		_ = n.stream.takeOver(each([][]byte{b}), shifted{}) // most are refused
		n.settle()
		checkSums(t, n.stream)
	})
}
