package pace

import (
	"testing"
	"time"
)

// TestPace goes through waits of a worker: it pauses after two of them that ended shortly after one another, for as long as
// packets come meanwhile, and never for longer than it was asked to wait.
func TestPace(t *testing.T) {
	var p Pace
	now := int64(time.Hour)
	for i, turn := range []struct {
		after   time.Duration // the end of the wait before
		packets bool
		paused  bool // what this wait is
	}{
		{after: time.Second, packets: true},
		{after: 10 * Pause, packets: true}, // few packets: every block is waited for
		{after: Pause, packets: true},
		{after: Pause / 4, packets: true},
		{after: Pause, packets: true, paused: true},
		{after: 2 * Pause, packets: true, paused: true},
		{after: Pause, packets: false, paused: true}, // nothing came: the kernel has to wake it
		{after: time.Second, packets: true},
		{after: Pause / 2, packets: false}, // a timeout, or the end of a context
		{after: Pause / 4, packets: true},
		{after: Pause, packets: true, paused: true},
	} {
		paused, wait := p.Wait(-1)
		if paused != turn.paused || paused != (wait == Pause) || !paused && wait != -1 {
			t.Fatalf("turn %d: paused is %v for %v, want %v", i, paused, wait, turn.paused)
		}
		for _, timeout := range []time.Duration{0, Pause / 2, Pause} {
			if paused, wait := p.Wait(timeout); paused || wait != timeout {
				t.Fatalf("turn %d: of a wait for %v paused is %v for %v", i, timeout, paused, wait)
			}
		}
		now += int64(turn.after)
		p.Waited(paused, now, turn.packets)
	}
}

// TestLongPause pauses for longer, after waits that are as short as others'.
func TestLongPause(t *testing.T) {
	p := Pace{Pause: 5 * Pause}
	now := int64(time.Hour)
	for i, turn := range []struct {
		after   time.Duration
		packets bool
		paused  bool
	}{
		{after: time.Second, packets: true},
		{after: 4 * Pause, packets: true},
		{after: Pause / 2, packets: true},
		{after: 5 * Pause, packets: true, paused: true},
		{after: 5 * Pause, packets: false, paused: true},
		{after: time.Second, packets: true},
	} {
		paused, wait := p.Wait(-1)
		if paused != turn.paused || paused != (wait == 5*Pause) {
			t.Fatalf("turn %d: paused is %v for %v, want %v", i, paused, wait, turn.paused)
		}
		if paused, wait := p.Wait(5 * Pause); paused || wait != 5*Pause {
			t.Fatalf("turn %d: of a wait for as long as a pause paused is %v for %v", i, paused, wait)
		}
		now += int64(turn.after)
		p.Waited(paused, now, turn.packets)
	}
}
