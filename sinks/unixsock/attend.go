package unixsock

import (
	"errors"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// attend does what the receiver and the clock ask for before the next record may go out. It returns when records may,
// or with the reason why the connection ends. between says that it is called between two batches.
func (l *link) attend(between bool) error {
	for {
		l.rearm()
		l.mu.Lock()
		ended, paused, quiet, drain := l.ended, l.paused, l.quiet, len(l.drains) > 0
		l.mu.Unlock()
		if ended != nil {
			return ended
		}
		if quiet {
			if err := l.keepAlive(); err != nil {
				return err
			}
		}
		if drain {
			if err := l.answerDrain(false); err != nil {
				return err
			}
			drain = l.drainWaits()
		}
		switch {
		case paused && !drain: // a drain request is answered during a pause as well, with all that there is
			l.show(Paused)
			if between {
				if err := l.endPaused(); err != nil {
					return err
				}
			}
			<-l.wait.Done()
			continue
		case l.track.told:
			l.show(Resyncing)
		default:
			l.show(Streaming)
		}
		return nil
	}
}

// endPaused ends the connection if the pipeline is stopping and there is nothing that the pause holds.
func (l *link) endPaused() error {
	l.mu.Lock()
	over := l.stopping && l.acked >= l.next-1
	l.mu.Unlock()
	if !over || l.held.Len() > 0 {
		return nil
	}
	b, err := l.stream.Next(l.ctx, 0)
	if errors.Is(err, sdk.ErrDrained) {
		return errDelivered
	}
	l.held = b
	return err
}

// show tells what the link is doing.
func (l *link) show(s State) {
	if l.state != s {
		l.state = s
		l.enter(s)
	}
}

// keepAlive sends a keepalive if nothing was written for long.
func (l *link) keepAlive() error {
	l.mu.Lock()
	l.quiet = false
	due := time.Until(l.written.Add(keepalive))
	l.mu.Unlock()
	if due > 0 {
		l.timers[aliveTimer].Reset(due)
		return nil
	}
	l.counters.keepalives.Add(1)
	l.out = eventstream.AppendControl(l.out, eventstream.Keepalive, 0)
	err := l.flush()
	l.timers[aliveTimer].Reset(keepalive)
	return err
}
