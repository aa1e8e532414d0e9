package worker

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/tally"
)

// counter is what a worker counts, see [Counts].
type counter int

const (
	received counter = iota
	bytes
	passed
	forwarded
	notSent
	orphans
	strays
	outOfState
	unkept
	dropped                               // the first of as many as there are sites
	refused     = dropped + hook.NumSites // the first of as many as there are causes
	numCounters = refused + counter(packet.NumCauses)
)

// counts are the worker's counters in plain words. It publishes them once per batch.
type counts [numCounters]uint64

// published is what other goroutines see of a worker.
type published struct {
	beats       atomic.Uint64
	now, offset atomic.Int64
	rules       atomic.Pointer[Rules]
	counts      [numCounters]tally.Number
}

func (w *Worker) publish() {
	w.zoned.publishAfter(w.batch.N)
	w.publishDenied()
	w.publishRules()
	plain := w.counts
	plain[received] -= uint64(w.late.waiting) // those that wait are in no other counter yet
	if w.published.counts[received].Load() == plain[received] && !w.resolved {
		return
	}
	w.resolved = false
	tally.Publish(w.published.counts[:], plain[:])
}

// publishRules says which are the oldest rules that a packet may still be judged by.
func (w *Worker) publishRules() {
	oldest := w.taken
	if l := w.late; l.n > 0 {
		oldest = l.entries[l.head].rules
	}
	if oldest != w.oldest {
		w.oldest = oldest
		w.published.rules.Store(oldest)
	}
}

// Judges returns the oldest rules that the worker may judge a packet by; nil: it has ended. Safe for concurrent use.
func (w *Worker) Judges() *Rules { return w.published.rules.Load() }

// Beats counts the loops of the worker: a watchdog sees by it that the worker is alive. Safe for concurrent use.
func (w *Worker) Beats() uint64 { return w.published.beats.Load() }

// Clock returns the time of the worker's last batch, which is at most about a second ago while it runs, and Unix time minus
// that clock, in nanoseconds. Safe for concurrent use.
func (w *Worker) Clock() (now, offset int64) {
	return w.published.now.Load(), w.published.offset.Load()
}

// Counts is what became of packets: Received = Forwarded + NotSent + Passed + Dropped (all sites) + Refused (all causes but
// NotIP, which is part of Passed, or of Forwarded and NotSent). Packets that wait, see [late], are in none of them but Bytes.
type Counts struct {
	Received, Bytes, Passed uint64
	// Forwarded and NotSent are the packets that were let through to a [source.Forwarder], by whether it has sent them on.
	Forwarded, NotSent uint64
	Dropped            [hook.NumSites]uint64
	Causes             [packet.NumCauses]uint64
	// Orphans are later fragments whose first was not seen or has no session; part of Passed, of a Forwarder part of Dropped.
	Orphans uint64
	// Strays are packets that belong to no session and may not begin one: resets (part of Passed, of a Forwarder part of
	// Dropped) and ICMP errors (part of Dropped).
	Strays uint64
	// OutOfState are packets that answer something no session was seen of, and that join none: TCP without SYN or with SYN
	// and ACK, which no policy permits in either direction or SynCheck refuses, and echo replies; part of Dropped.
	OutOfState uint64
	// Unkept are answers to packets whose session the table had no room for, or gave up, which a policy would have denied;
	// part of Passed, of a Forwarder part of Forwarded.
	Unkept uint64
}

// Counts returns what the worker has published last. Safe for concurrent use.
func (w *Worker) Counts() (c Counts) {
	n := func(i counter) uint64 { return w.published.counts[i].Load() }
	c.Received, c.Bytes = n(received), n(bytes)
	for i := range c.Dropped {
		c.Dropped[i] = n(dropped + counter(i))
	}
	for i := range c.Causes {
		c.Causes[i] = n(refused + counter(i))
	}
	c.Passed, c.Forwarded, c.NotSent = n(passed), n(forwarded), n(notSent)
	if w.forwarder == nil {
		c.Passed += c.Causes[packet.NotIP]
	}
	c.Orphans, c.Strays, c.OutOfState, c.Unkept = n(orphans), n(strays), n(outOfState), n(unkept)
	return c
}

// Add adds the packets of another worker.
func (c *Counts) Add(other Counts) {
	c.Received += other.Received
	c.Bytes += other.Bytes
	c.Forwarded += other.Forwarded
	c.NotSent += other.NotSent
	c.Passed += other.Passed
	for i, n := range other.Dropped {
		c.Dropped[i] += n
	}
	for i, n := range other.Causes {
		c.Causes[i] += n
	}
	c.Orphans += other.Orphans
	c.Strays += other.Strays
	c.OutOfState += other.OutOfState
	c.Unkept += other.Unkept
}

// Refused adds up the causes for which frames were refused.
func (c *Counts) Refused() (n uint64) {
	for cause, v := range c.Causes {
		if packet.Cause(cause) != packet.NotIP {
			n += v
		}
	}
	return n
}
