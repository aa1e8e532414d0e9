package replay

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/sdk/event"
)

// Class is what a credit is taken for.
type Class uint8

const (
	// Priority is the class of the records of sessions that both ends want: they count against the whole ring only.
	Priority Class = iota
	// Announcement is the class of loss records. They have a small ceiling of their own, so that a storm, which makes them,
	// cannot fill the reserve with them.
	Announcement
	// PolicyDeny, ScreenDrop, FilterLog and Unanswered are the telemetry classes, whose events may come in storms. Each has a
	// ceiling, and they have one together.
	PolicyDeny
	ScreenDrop
	FilterLog
	// Unanswered is the class of the records of sessions that nobody has answered.
	Unanswered

	numClasses     = Unanswered + 1
	firstTelemetry = PolicyDeny
)

// Telemetry reports whether the class is one of the telemetry classes.
func (c Class) Telemetry() bool { return c >= firstTelemetry }

// ClassOf returns the class of a kind's records; of session records it is that of answered sessions.
func ClassOf(k event.Kind) Class { return classOf[k] }

var classOf = [event.NumKinds]Class{
	event.SessionOpen: Priority, event.SessionClose: Priority, event.Loss: Announcement,
	event.PolicyDeny: PolicyDeny, event.ScreenDrop: ScreenDrop, event.FilterLog: FilterLog,
}

// ceiling is how many credits there may be.
type ceiling struct {
	max     atomic.Int64 // only raised, by one goroutine at a time
	retired atomic.Int64 // taken to lower the ceiling; changed by the same
}

// now returns how many there can be.
func (c *ceiling) now() int64 { return c.max.Load() - c.retired.Load() }

// limit moves the ceiling towards to, and reports whether it is there: up at once, down as far as there are free credits, which it
// takes. A lower max alone would not do: whoever has read the higher one may still take what it allows. Calls must not overlap.
func (c *ceiling) limit(to int64, take func(n int) int, give func(n int)) (there bool) {
	switch more := to - c.now(); {
	case more > 0:
		back := min(more, c.retired.Load())
		c.retired.Add(-back)
		give(int(back))
		c.max.Add(more - back)
	case more < 0:
		c.retired.Add(int64(take(int(-more))))
	}
	return c.now() == to
}

// counter counts the credits in use below one ceiling. It has cache lines of its own.
type counter struct {
	used atomic.Int64 // retired ones among them
	ceiling
	_ [104]byte
}

// take takes up to n and returns how many it got. It never goes above the ceiling, not even for a moment: an overshoot that is
// taken back could refuse another worker's record while there is room.
func (c *counter) take(n int) int {
	for {
		used := c.used.Load()
		got := min(int64(n), c.max.Load()-used)
		if got <= 0 {
			return 0
		}
		if c.used.CompareAndSwap(used, used+got) {
			return int(got)
		}
	}
}

func (c *counter) give(n int) {
	if n != 0 {
		c.used.Add(-int64(n))
	}
}

// limit moves the ceiling, see [ceiling.limit].
func (c *counter) limit(to int) (there bool) { return c.ceiling.limit(int64(to), c.take, c.give) }

// inUse returns how many credits are held.
func (c *counter) inUse() int64 { return c.used.Load() - c.retired.Load() }

// full reports whether the ceiling is reached.
func (c *counter) full() bool { return c.used.Load() >= c.max.Load() }

// common counts the credits in use below two ceilings, that of all records and that of telemetry, in one word: a record of telemetry takes
// from both with one compare-and-swap. It has cache lines of its own.
type common struct {
	used           atomic.Uint64 // of all records in the lower half, of telemetry in the upper one; retired ones among them
	all, telemetry ceiling
	_              [88]byte
}

// What a record adds to common.used.
const (
	ofAll       = 1
	ofTelemetry = 1 << 32
	ofBoth      = ofAll | ofTelemetry
)

// take takes up to n of all, or of both, and returns how many it got. It never goes above a ceiling, see [counter.take].
func (c *common) take(n int, of uint64) int {
	for {
		used := c.used.Load()
		got := min(int64(n), c.all.max.Load()-int64(used%ofTelemetry))
		if of&ofTelemetry != 0 {
			got = min(got, c.telemetry.max.Load()-int64(used/ofTelemetry))
		}
		if got <= 0 {
			return 0
		}
		if c.used.CompareAndSwap(used, used+uint64(got)*of) {
			return int(got)
		}
	}
}

// takeTelemetry takes up to n of telemetry alone.
func (c *common) takeTelemetry(n int) int {
	for {
		used := c.used.Load()
		got := min(int64(n), c.telemetry.max.Load()-int64(used/ofTelemetry))
		if got <= 0 {
			return 0
		}
		if c.used.CompareAndSwap(used, used+uint64(got)*ofTelemetry) {
			return int(got)
		}
	}
}

func (c *common) give(n int, of uint64) {
	if n != 0 {
		c.used.Add(-(uint64(n) * of))
	}
}

// limitAll moves the ceiling of all records, see [ceiling.limit].
func (c *common) limitAll(to int) (there bool) {
	return c.all.limit(int64(to), func(n int) int { return c.take(n, ofAll) }, func(n int) { c.give(n, ofAll) })
}

// limitTelemetry moves the ceiling of telemetry.
func (c *common) limitTelemetry(to int) (there bool) {
	return c.telemetry.limit(int64(to), c.takeTelemetry, func(n int) { c.give(n, ofTelemetry) })
}

// inUse returns how many credits are held: of all, and of telemetry.
func (c *common) inUse() (all, telemetry int64) {
	used := c.used.Load()
	return int64(used%ofTelemetry) - c.all.retired.Load(), int64(used/ofTelemetry) - c.telemetry.retired.Load()
}

// credits say how many records may be in flight: in all, of the telemetry classes together, and of one such class. They
// are as many as the slots, so that whoever holds a credit finds a slot free. All methods are safe for concurrent use.
type credits struct {
	common       common
	announcement counter
	class        [numClasses - firstTelemetry]counter
}

// newCredits returns the credits for those limits, all of them free.
func newCredits(l Limits) *credits {
	c := new(credits)
	c.common.limitAll(l.Slots)
	c.limit(l)
	return c
}

// limit moves the ceilings below that of all records towards those limits, and reports whether they are there, see [ceiling.limit].
func (c *credits) limit(l Limits) (there bool) {
	there = c.announcement.limit(announcements(l))
	there = c.common.limitTelemetry(l.Telemetry) && there
	for i := range c.class {
		there = c.class[i].limit(l.PerKind) && there
	}
	return there
}

// acquire takes up to n credits of the class and returns how many it got.
func (c *credits) acquire(class Class, n int) int {
	own, of := &c.announcement, uint64(ofAll)
	switch {
	case class == Priority:
		return c.common.take(n, ofAll)
	case class.Telemetry():
		own, of = &c.class[class-firstTelemetry], ofBoth
	}
	k := own.take(n)
	if k == 0 {
		return 0
	}
	got := c.common.take(k, of)
	own.give(k - got)
	return got
}

// hold takes a credit of the class, above a ceiling if need be: what is held already has it.
func (c *credits) hold(class Class) {
	switch {
	case class == Priority:
		c.common.used.Add(ofAll)
	case class == Announcement:
		c.announcement.used.Add(1)
		c.common.used.Add(ofAll)
	default:
		c.class[class-firstTelemetry].used.Add(1)
		c.common.used.Add(ofBoth)
	}
}

// release gives n credits of the class back. The caller holds them.
func (c *credits) release(class Class, n int) {
	switch {
	case class == Priority:
		c.common.give(n, ofAll)
	case class == Announcement:
		c.announcement.give(n)
		c.common.give(n, ofAll)
	default:
		c.class[class-firstTelemetry].give(n)
		c.common.give(n, ofBoth)
	}
}

// announce turns one credit of the class into an Announcement credit, above its ceiling if need be.
func (c *credits) announce(class Class) {
	c.giveOwn(class)
	c.announcement.used.Add(1)
}

// announceBelow is announce for a telemetry class, and only below the ceiling. It reports whether it did.
func (c *credits) announceBelow(class Class) bool {
	if c.announcement.take(1) == 0 {
		return false
	}
	c.giveOwn(class)
	return true
}

// giveOwn gives back what one credit of the class takes beside that of all records.
func (c *credits) giveOwn(class Class) {
	switch {
	case class == Priority:
	case class == Announcement:
		c.announcement.give(1)
	default:
		c.class[class-firstTelemetry].give(1)
		c.common.give(1, ofTelemetry)
	}
}

// aboveCeiling reports whether there are more loss records than their ceiling.
func (c *credits) aboveCeiling() bool { return c.announcement.used.Load() > c.announcement.max.Load() }

// full reports whether a class has reached a ceiling of its own, and whether telemetry has reached the one of all its
// classes.
func (c *credits) full(class Class) (own, telemetry bool) {
	t := &c.common
	return c.class[class-firstTelemetry].full(), int64(t.used.Load()/ofTelemetry) >= t.telemetry.max.Load()
}

// inFlight returns the credits in use: of all classes, and of the telemetry classes together.
func (c *credits) inFlight() (all, telemetry int) {
	a, t := c.common.inUse()
	return int(a), int(t)
}
