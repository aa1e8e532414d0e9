// Package budget holds the credits of one ring: how many records may be in flight, in all, of the telemetry kinds
// together, and of one such kind.
//
// What lives here: counters with hard ceilings. What never may: the ring itself, events, and anything of ours. The
// ceilings are chosen so that whoever holds a credit finds a slot free: all credits together are as many as the slots.
package budget

import (
	"fmt"
	"sync/atomic"
)

// Class is what a credit is taken for.
type Class uint8

const (
	// Priority is the class of session records: they count against the whole only.
	Priority Class = iota
	// Announcement is the class of loss records. They have a small ceiling of their own, so that a storm, which makes them,
	// cannot fill the reserve with them.
	Announcement
	// Telemetry is the first of Limits.Classes classes, one for each telemetry kind.
	Telemetry
)

// Limits are the ceilings of a ring, in records.
type Limits struct {
	All           int // the ring's slots
	Announcements int // loss records; at least 1
	Telemetry     int // of all telemetry classes together; below All
	PerClass      int // of one telemetry class; at most Telemetry
	Classes       int // number of telemetry classes
}

// counter is one ceiling, alone on its cache lines.
type counter struct {
	used atomic.Int64
	max  int64
	_    [112]byte
}

// take takes up to n and returns how many it got. It never goes above max, not even for a moment: an overshoot that is
// taken back could refuse another worker's session record while the ring has room.
func (c *counter) take(n int) int {
	for {
		used := c.used.Load()
		got := min(int64(n), c.max-used)
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

// Credits are the credits of one ring. All methods are safe for concurrent use.
type Credits struct {
	all          counter
	announcement counter
	telemetry    counter
	class        []counter
}

// New returns the credits for those limits, all of them free.
func New(l Limits) (*Credits, error) {
	if l.Announcements < 1 {
		return nil, fmt.Errorf("budget: %d announcements, need at least 1", l.Announcements)
	}
	if l.PerClass < 1 || l.PerClass > l.Telemetry || l.Telemetry >= l.All {
		return nil, fmt.Errorf("budget: need 1 <= per class (%d) <= telemetry (%d) < all (%d)", l.PerClass, l.Telemetry, l.All)
	}
	c := &Credits{class: make([]counter, l.Classes)}
	c.all.max = int64(l.All)
	c.announcement.max = int64(l.Announcements)
	c.telemetry.max = int64(l.Telemetry)
	for i := range c.class {
		c.class[i].max = int64(l.PerClass)
	}
	return c, nil
}

// Acquire takes up to n credits of the class and returns how many it got.
func (c *Credits) Acquire(class Class, n int) int {
	switch class {
	case Priority:
		return c.all.take(n)
	case Announcement:
		return c.within(&c.announcement, n)
	}
	own := &c.class[class-Telemetry]
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

// within takes up to n credits below a ceiling and the whole.
func (c *Credits) within(ceiling *counter, n int) int {
	k := ceiling.take(n)
	if k == 0 {
		return 0
	}
	got := c.all.take(k)
	ceiling.give(k - got)
	return got
}

// Release gives n credits of the class back. The caller holds them.
func (c *Credits) Release(class Class, n int) {
	if n == 0 {
		return
	}
	c.giveOwn(class, n)
	c.all.give(n)
}

func (c *Credits) giveOwn(class Class, n int) {
	switch class {
	case Priority:
	case Announcement:
		c.announcement.give(n)
	default:
		c.class[class-Telemetry].give(n)
		c.telemetry.give(n)
	}
}

// Announce turns one credit of the class into an Announcement credit, above its ceiling if need be: a record was
// evicted and its slot announces that.
func (c *Credits) Announce(class Class) {
	c.giveOwn(class, 1)
	c.announcement.used.Add(1)
}

// InFlight returns the credits in use: of all classes, and of the telemetry classes together.
func (c *Credits) InFlight() (all, telemetry int) {
	return int(c.all.used.Load()), int(c.telemetry.used.Load())
}

// Of returns the credits of a telemetry class in use.
func (c *Credits) Of(class Class) int { return int(c.class[class-Telemetry].used.Load()) }
