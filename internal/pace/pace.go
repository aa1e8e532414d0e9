// Package pace decides when a loop that is woken in quick succession pauses instead of waiting to be woken again.
//
// Being woken costs as much as reading dozens of packets or events. The kernel wakes a reader that is faster than what it reads for
// each packet, or each block of them.
package pace

import "time"

// Pause is how long a loop leaves its sockets alone when it has read them empty, unless its [Pace] says otherwise. Their buffers must
// hold what comes in several such times.
const Pause = time.Millisecond

// Pace is what a loop knows of its last waits. The zero value is one that has not waited. It is used by one goroutine.
type Pace struct {
	// Pause takes the place of the constant, unless it is 0. It is longer.
	Pause time.Duration

	woken int64 // when a wait has last ended with something to do
	quick bool  // it ended shortly after the one before, or was a pause
}

// Wait returns what to do for up to timeout, which is negative for ever: whether to pause, and how long.
func (p *Pace) Wait(timeout time.Duration) (paused bool, wait time.Duration) {
	if pause := max(p.Pause, Pause); p.quick && (timeout < 0 || timeout > pause) {
		return true, pause
	}
	return false, timeout
}

// Waited notes that a wait, or a pause, has ended at now, in nanoseconds of a clock that never goes back, and whether there was
// something to do.
func (p *Pace) Waited(paused bool, now int64, something bool) {
	p.quick = something && (paused || now-p.woken < int64(Pause))
	if something {
		p.woken = now
	}
}
