package syslog

import (
	"errors"
	"time"
)

// settle asks every connection what its peer has and acknowledges what all addresses have.
func (r *run) settle() error {
	now := time.Now()
	for _, l := range r.links {
		if !l.up() {
			continue
		}
		moved, err := l.settle(now)
		if moved {
			r.poll = firstPoll
		}
		if err != nil {
			if err := r.lost(l, err); err != nil {
				return err
			}
		}
	}
	return r.acknowledge()
}

// acknowledge acknowledges to the stream what every address that counts has.
func (r *run) acknowledge() error {
	through := r.handed
	for _, l := range r.links {
		if r.strategy == all || l.up() {
			through = min(through, l.through(r.handed))
		}
	}
	if through <= r.acked || r.countUp() == 0 {
		return nil
	}
	r.acked = through
	return r.stream.Ack(through)
}

func (r *run) countUp() (n int) {
	for _, l := range r.links {
		if l.up() {
			n++
		}
	}
	return n
}

// unacked reports whether records are on their way.
func (r *run) unacked() bool {
	for _, l := range r.links {
		if l.up() && l.marks.len() > 0 {
			return true
		}
	}
	return false
}

// await waits until everything on its way is acknowledged, at most until the deadline if there is one.
func (r *run) await(deadline time.Time) error {
	if err := r.flush(); err != nil {
		return err
	}
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		if err := r.settle(); err != nil {
			return err
		}
		if !r.unacked() {
			return nil
		}
		if !deadline.IsZero() && time.Now().After(deadline) {
			return errors.New("syslog: records on their way were not acknowledged in time")
		}
		if err := r.sleep(pause, nil); err != nil {
			return err
		}
		if err := r.look(); err != nil {
			return err
		}
	}
}
