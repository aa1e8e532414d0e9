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

// counter counts the credits in use below one ceiling. It has cache lines of its own.
type counter struct {
	used    atomic.Int64 // retired ones among them
	max     atomic.Int64 // only raised, by one goroutine at a time
	retired atomic.Int64 // taken to lower the ceiling; changed by the same
	_       [104]byte
}

// take takes up to n and returns how many it got. It never goes above max, not even for a moment: an overshoot that is
// taken back could refuse another worker's session record while the ring has room.
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

// inUse returns how many credits are held.
func (c *counter) inUse() int64 { return c.used.Load() - c.retired.Load() }

// ceiling returns how many there can be.
func (c *counter) ceiling() int64 { return c.max.Load() - c.retired.Load() }

// limit moves the ceiling towards to, and reports whether it is there: up at once, down as far as there are free credits, which it
// takes. A lower max alone would not do: whoever has read the higher one may still take what it allows. Calls must not overlap.
func (c *counter) limit(to int64) (there bool) {
	switch more := to - c.ceiling(); {
	case more > 0:
		back := min(more, c.retired.Load())
		c.retired.Add(-back)
		c.give(int(back))
		c.max.Add(more - back)
	case more < 0:
		c.retired.Add(int64(c.take(int(-more))))
	}
	return c.ceiling() == to
}

// credits say how many records may be in flight: in all, of the telemetry classes together, and of one such class. They
// are as many as the slots, so that whoever holds a credit finds a slot free. All methods are safe for concurrent use.
type credits struct {
	all          counter
	announcement counter
	telemetry    counter
	class        [numClasses - firstTelemetry]counter
}

// newCredits returns the credits for those limits, all of them free.
func newCredits(l Limits) *credits {
	c := new(credits)
	c.all.limit(int64(l.Slots))
	c.limit(l)
	return c
}

// limit moves the ceilings below that of all records towards those limits, and reports whether they are there, see [counter.limit].
func (c *credits) limit(l Limits) (there bool) {
	there = c.announcement.limit(int64(announcements(l)))
	there = c.telemetry.limit(int64(l.Telemetry)) && there
	for i := range c.class {
		there = c.class[i].limit(int64(l.PerKind)) && there
	}
	return there
}

// acquire takes up to n credits of the class and returns how many it got.
func (c *credits) acquire(class Class, n int) int {
	switch class {
	case Priority:
		return c.all.take(n)
	case Announcement:
		return c.within(&c.announcement, n)
	}
	own := &c.class[class-firstTelemetry]
	k := own.take(n)
	if k == 0 {
		return 0
	}
	t := c.telemetry.take(k)
	got := 0
	if t > 0 {
		got = c.all.take(t)
	}
	c.telemetry.give(t - got)
	own.give(k - got)
	return got
}

// hold takes a credit of the class, above a ceiling if need be: what is held already has it.
func (c *credits) hold(class Class) {
	c.all.used.Add(1)
	switch class {
	case Priority:
	case Announcement:
		c.announcement.used.Add(1)
	default:
		c.class[class-firstTelemetry].used.Add(1)
		c.telemetry.used.Add(1)
	}
}

// within takes up to n credits below a ceiling and the whole.
func (c *credits) within(ceiling *counter, n int) int {
	k := ceiling.take(n)
	if k == 0 {
		return 0
	}
	got := c.all.take(k)
	ceiling.give(k - got)
	return got
}

// release gives n credits of the class back. The caller holds them.
func (c *credits) release(class Class, n int) {
	if n == 0 {
		return
	}
	c.giveOwn(class, n)
	c.all.give(n)
}

func (c *credits) giveOwn(class Class, n int) {
	switch class {
	case Priority:
	case Announcement:
		c.announcement.give(n)
	default:
		c.class[class-firstTelemetry].give(n)
		c.telemetry.give(n)
	}
}

// announce turns one credit of the class into an Announcement credit, above its ceiling if need be.
func (c *credits) announce(class Class) {
	c.giveOwn(class, 1)
	c.announcement.used.Add(1)
}

// aboveCeiling reports whether there are more loss records than their ceiling.
func (c *credits) aboveCeiling() bool { return c.announcement.used.Load() > c.announcement.max.Load() }

// full reports whether a class has reached a ceiling of its own, and whether telemetry has reached the one of all its
// classes.
func (c *credits) full(class Class) (own, telemetry bool) {
	t, o := &c.telemetry, &c.class[class-firstTelemetry]
	return o.used.Load() >= o.max.Load(), t.used.Load() >= t.max.Load()
}

// inFlight returns the credits in use: of all classes, and of the telemetry classes together.
func (c *credits) inFlight() (all, telemetry int) {
	return int(c.all.inUse()), int(c.telemetry.inUse())
}
