package unixsock

import (
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

const (
	// drainDeadline is how long a drain request may take to be answered.
	drainDeadline = 200 * time.Millisecond
	// maxDrains is how many drain requests may wait for their answers.
	maxDrains = 16
)

// drainRequest is what the receiver has asked for with a DrainRequest.
type drainRequest struct {
	target   event.Seq
	deadline time.Time
}

// requestDrain notes a request. The lock is held.
func (l *link) requestDrain(target event.Seq) {
	l.counters.drains.Add(1)
	if len(l.drains) == maxDrains {
		l.counters.drainsMissed.Add(1)
		return
	}
	l.drains = append(l.drains, drainRequest{target, time.Now().Add(drainDeadline)})
	if len(l.drains) == 1 {
		l.timers[drainTimer].Reset(drainDeadline)
	}
	l.poke()
}

// drainReached reports whether there is a drain request and everything up to its target was sent.
func (l *link) drainReached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.drains {
		if l.reached(d.target) {
			return true
		}
	}
	return false
}

// drainWaits reports whether there is a drain request.
func (l *link) drainWaits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.drains) > 0
}

// reached reports whether everything up to a number was sent, or has no frame. The lock is held.
func (l *link) reached(target event.Seq) bool { return max(l.offered, l.acked) >= target }

// answerDrain answers drain requests: those up to whose target everything was sent, when nothing more is at hand or their
// deadline has come. Where the target was not reached by then, there is no answer.
func (l *link) answerDrain(atRest bool) error {
	l.mu.Lock()
	now, answer := time.Now(), false
	waiting := l.drains[:0]
	for _, d := range l.drains {
		switch over := !now.Before(d.deadline); {
		case l.reached(d.target) && (atRest || over):
			answer = true // one for all: it says how far everything is
		case over:
			l.counters.drainsMissed.Add(1)
		default:
			waiting = append(waiting, d)
		}
	}
	l.drains = waiting
	if len(waiting) > 0 {
		l.timers[drainTimer].Reset(waiting[0].deadline.Sub(now))
	}
	highest := max(l.last, l.acked) // what was acknowledged without a frame counts as sent
	l.mu.Unlock()
	if !answer {
		return nil
	}
	l.out = eventstream.AppendControl(l.out, eventstream.DrainComplete, highest)
	return l.flush()
}
