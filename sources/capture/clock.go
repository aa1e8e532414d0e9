package capture

import (
	"math"
	"slices"
	"time"
)

const (
	// maxStep is how far the clock of a capture follows a single packet, forward or back.
	maxStep = int64(10 * time.Minute)
	// confirmations is how many packets must follow one that is further ahead, and agree, before the clock goes there.
	confirmations = 2
	// unset is up to when a stamp says that whoever captured knew no time, where another one says more: the first day of 1970.
	unset = int64(24 * time.Hour)
	// behindLimit is how many packets in a row must be further behind than maxStep before the clock goes on with their pace.
	behindLimit = 16
)

// clock gives the packets of a capture times that never go back, and that a few broken time stamps do not carry away.
//
// A packet stamped earlier than its predecessor, or not at all, gets its predecessor's time. A packet stamped more than maxStep
// later is held until it is known what follows: if one of the next confirmations packets is stamped more than maxStep before it,
// it is an outlier and gets its predecessor's time; otherwise, and at the end of the capture, its stamp is believed. So may be
// the first packet: if it is more than maxStep later than the median of the first three, it gets the
// earliest of their stamps that is not as far before the median; a stamp of the first day of 1970 counts as none if one of the
// three is later. Where behindLimit packets in a row are more than maxStep behind, the clock of the capture was set back: from there on time goes on from where it is with
// the differences between the stamps.
type clock struct {
	now     int64 // time of the last packet that was given one
	shift   int64 // what is added to stamps since the capture's clock was set back
	behind  int   // packets in a row that were more than maxStep behind
	started bool  // now is set

	held  [1 + confirmations]record // waiting for a time, in order; data is a copy
	n     int
	count *counters
}

// empty reports whether no packet is held.
func (c *clock) empty() bool { return c.n == 0 }

// direct gives rec its time if that can be done without knowing what follows. No packet may be held.
func (c *clock) direct(rec *record) bool {
	if !c.started || c.ahead(rec) {
		return false
	}
	c.follow(rec)
	return true
}

// start lets the clock believe the first packet at once, if it has a time.
func (c *clock) start(rec *record) {
	if !c.started && rec.stamp >= unset {
		c.now, c.started = rec.stamp, true
	}
}

// hold keeps a copy of rec. There is room: take has returned false.
func (c *clock) hold(rec *record) {
	h := &c.held[c.n]
	data := append(h.data[:0], rec.data...)
	*h = *rec
	h.data = data
	c.n++
}

// take returns the first packet held, if what follows it is known or will not be: ended says that nothing will follow. The packet is
// valid until the next hold.
func (c *clock) take(ended bool) (rec *record, ok bool) {
	if c.n == 0 || c.n < len(c.held) && !ended && (!c.started || c.ahead(&c.held[0]) && !c.contradicted()) {
		return nil, false
	}
	first := &c.held[0]
	switch {
	case !c.started:
		c.begin()
	case c.ahead(first) && c.contradicted():
		c.count.outOfOrder.Add(1)
	case c.ahead(first):
		c.now, c.behind = first.stamp+c.shift, 0
	default:
		c.follow(first)
	}
	c.n--
	taken := c.held[0]
	copy(c.held[:], c.held[1:])
	c.held[len(c.held)-1] = taken // its memory is used again
	return &c.held[len(c.held)-1], true
}

// begin sets the clock by the first packets.
func (c *clock) begin() {
	var stamps []int64
	for _, r := range c.held[:c.n] {
		if r.stamp >= 0 {
			stamps = append(stamps, r.stamp)
		}
	}
	slices.Sort(stamps)
	if i := slices.IndexFunc(stamps, func(s int64) bool { return s >= unset }); i > 0 {
		stamps = stamps[i:]
	}
	first := c.held[0].stamp
	if len(stamps) == 0 || first < 0 || first < unset && stamps[0] >= unset {
		c.count.outOfOrder.Add(1)
		if len(stamps) == 0 {
			return
		}
		first = stamps[0]
	}
	if median := stamps[len(stamps)/2]; first-maxStep > median {
		c.count.outOfOrder.Add(1)
		first = stamps[slices.IndexFunc(stamps, func(s int64) bool { return s >= median-maxStep })]
	}
	c.now, c.started = first, true
}

// at returns the time that a packet's stamp stands for, false if it has none.
func (c *clock) at(rec *record) (int64, bool) {
	if rec.stamp < 0 || c.shift > math.MaxInt64-rec.stamp {
		return 0, false
	}
	return rec.stamp + c.shift, true
}

// ahead reports whether rec is further ahead than the clock follows a single packet.
func (c *clock) ahead(rec *record) bool {
	at, ok := c.at(rec)
	return ok && at-maxStep > c.now
}

// contradicted reports whether a packet behind the first shows that the stamp of the first is wrong.
func (c *clock) contradicted() bool {
	for i := 1; i < c.n; i++ {
		if s := c.held[i].stamp; s >= 0 && s < c.held[0].stamp-maxStep {
			return true
		}
	}
	return false
}

// follow gives a packet that is not ahead its time.
func (c *clock) follow(rec *record) {
	at, ok := c.at(rec)
	switch {
	case ok && at >= c.now:
		c.now, c.behind = at, 0
		return
	case ok && at < c.now-maxStep:
		if c.behind++; c.behind == behindLimit {
			c.shift, c.behind = c.now-rec.stamp, 0
			c.count.setBack.Add(1)
			return
		}
	case ok:
		c.behind = 0
	}
	c.count.outOfOrder.Add(1)
}
