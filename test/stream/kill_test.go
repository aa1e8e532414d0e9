package stream

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// mix is the load: half of it sessions.
var mix = []event.Kind{
	event.SessionOpen, event.PolicyDeny, event.SessionClose, event.ScreenDrop, event.SessionOpen, event.FilterLog, event.SessionClose,
	event.PolicyDeny,
}

// load offers events until stop is set. With room it waits while more than half of the ring, or of what one kind may have
// of it, is in flight: nothing is refused then.
func (r *rig) load(limits replay.Limits, room bool, stop *atomic.Bool, done chan<- struct{}) {
	defer close(done)
	half := min(limits.Slots, 2*limits.PerKind) / 2
	for !stop.Load() {
		if room {
			until(r, "room in the ring", func() bool { all, _ := r.ring.Credits(); return all < half || stop.Load() })
		}
		for _, k := range mix {
			r.offer(k, 4)
		}
	}
}

// journalled checks what the receivers have written, over all their runs: every record that the ring took exactly once, in
// order, and a loss record for every other.
func (r *rig) journalled(path string) (refused uint64) {
	r.Helper()
	led := r.finish()
	q := &led.Sinks[0]
	var got [event.NumKinds]uint64
	var lost event.LossCounts
	next, last := uint64(1), int64(0)
	for _, e := range readJournal(r.TB.(*testing.T), path) {
		if e.Seq != next {
			r.Fatalf("record %d stands where %d should", e.Seq, next)
		}
		next++
		got[e.Kind]++
		if event.Kind(e.Kind) == event.Loss {
			for k, n := range e.Lost {
				lost[k] += n
			}
			continue
		}
		if e.Time <= last {
			r.Fatalf("event %d comes after event %d", e.Time, last)
		}
		last = e.Time
	}
	if got != q.Queued {
		r.Errorf("received %v, the ring took %v", got, q.Queued)
	}
	if want := event.LossCounts(q.OverBudget[:event.Loss]); lost != want {
		r.Errorf("loss records tell of %v, refused were %v", lost, want)
	}
	return lost.Total()
}

// size returns the size of the journal.
func size(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// TestKillReceiver kills the receiver 50 times under load that the ring can hold: no record is lost, none is doubled.
func TestKillReceiver(t *testing.T) {
	dir := t.TempDir()
	path, journal := filepath.Join(dir, "s"), filepath.Join(dir, "journal")
	limits := replay.Limits{Slots: 8192, Telemetry: 6000, PerKind: 3000}
	r := newRig(t, path, limits)
	var stop atomic.Bool
	done := make(chan struct{})
	go r.load(limits, true, &stop, done)
	for range 50 {
		c := startChild(t, "journal", path, journal)
		before := size(journal)
		until(t, "the receiver gets on", func() bool { return size(journal) >= before+100*entrySize })
		c.end(syscall.SIGKILL)
	}
	c := startChild(t, "journal", path, journal)
	stop.Store(true)
	<-done
	if refused := r.journalled(journal); refused != 0 {
		t.Errorf("%d events were refused although the ring was never full", refused)
	}
	c.end(syscall.SIGTERM)
}

// TestSlowReceiver floods receivers that are killed, stopped, and have small socket buffers: what does not fit is refused,
// and the stream says how much of what.
func TestSlowReceiver(t *testing.T) {
	dir := t.TempDir()
	path, journal := filepath.Join(dir, "s"), filepath.Join(dir, "journal")
	limits := replay.Limits{Slots: 512, Telemetry: 256, PerKind: 86}
	r := newRig(t, path, limits)
	var stop atomic.Bool
	done := make(chan struct{})
	go r.load(limits, false, &stop, done)
	grows := func(records int64) {
		t.Helper()
		before := size(journal)
		until(t, "the receiver gets on", func() bool { return size(journal) >= before+records*entrySize })
	}
	for i := range 8 {
		r.buffer.Store(int32(i%2) * 4608) // the least the kernel gives: a write of a batch takes many turns
		c := startChild(t, "journal", path, journal)
		grows(1000)
		c.signal(syscall.SIGSTOP)
		until(t, "the ring is full", func() bool { all, _ := r.ring.Credits(); return all == limits.Slots })
		if i%4 < 2 {
			c.signal(syscall.SIGCONT)
			grows(1000)
		}
		c.end(syscall.SIGKILL)
	}
	c := startChild(t, "journal", path, journal)
	grows(1000)
	stop.Store(true)
	<-done
	if refused := r.journalled(journal); refused == 0 {
		t.Error("nothing was refused: this was no flood")
	}
	c.end(syscall.SIGTERM)
}
