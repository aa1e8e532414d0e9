package syslog

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// steadyAfter is how long a connection must stand before its end says nothing against the address: one that ends earlier may
// have taken records into a buffer and nowhere else.
const steadyAfter = 5 * time.Second

// stalledAfter is how long records may wait for an acknowledgement when a connection ends, before that is held against the
// address: it had stopped working before.
const stalledAfter = time.Second

// maxRest bounds how long an address is left alone that breaks again and again.
const maxRest = 10 * time.Minute

// rest is how long another address is preferred to one that connects and does not work. It outlives a run.
type rest struct {
	until time.Time
	last  time.Duration
	why   error // nil: it works, as far as is known
}

// begin lets an address rest, twice as long as the last time.
func (r *rest) begin(now time.Time, first time.Duration, why error) {
	r.last = min(max(2*r.last, first), maxRest)
	r.until, r.why = now.Add(r.last), why
}

func (r *rest) over(now time.Time) bool { return !now.Before(r.until) }

// worked reports whether the open connection has done what it is for until now: the collector has answered for records, or the
// connection stood for a while, and nothing was waiting for long. What a kernel acknowledges at first proves nothing.
func (l *link) worked(why error, now time.Time) bool {
	if refusal, ok := errors.AsType[*refusedError](why); ok && refusal.others {
		return true
	}
	if errors.Is(why, errHangs) || errors.Is(why, unix.ETIMEDOUT) { // the kernel has given the peer up, however long the connection stood
		return false
	}
	if errors.Is(why, errOtherTaken) || errors.Is(why, errNoOther) {
		return true
	}
	if l.unacked.Load() > 0 && now.Sub(l.progress) > stalledAfter {
		return false
	}
	return l.took && l.conn.answers() || now.Sub(l.since) >= steadyAfter
}

// judge notes what the end of a connection says about its address.
func (l *link) judge(worked bool, now time.Time, first time.Duration, why error) {
	if worked {
		l.rest = rest{}
		return
	}
	l.rest.begin(now, first, why)
}

// byPromise returns the addresses in the order in which a run tries them: those that need no rest as they are listed, then the
// others, the one first whose rest is over first.
func (k *Sink) byPromise(now time.Time) []int {
	order := make([]int, len(k.links))
	for i := range order {
		order[i] = i
	}
	due := func(i int) time.Time {
		if k.links[i].rest.over(now) {
			return time.Time{}
		}
		return k.links[i].rest.until
	}
	slices.SortStableFunc(order, func(a, b int) int { return due(a).Compare(due(b)) })
	return order
}
