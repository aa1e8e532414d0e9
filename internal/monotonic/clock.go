// Package monotonic reads the monotonic and the wall clock of the kernel at one instant, without a system call.
package monotonic

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Clock reads the kernel's monotonic clock the cheap way. All sources of a process, and all their queues, have to agree
// on the time, so it is CLOCK_MONOTONIC itself and not the time since some start; Go reads that clock without a system
// call, but shows only differences.
type Clock struct {
	origin time.Time
	offset int64 // CLOCK_MONOTONIC at origin, in ns
}

// New compares the two clocks, to well under a microsecond unless the machine is very busy.
func New() (Clock, error) {
	var best Clock
	narrowest := time.Duration(1<<63 - 1)
	for range 16 {
		var now unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return Clock{}, fmt.Errorf("read the monotonic clock: %w", err)
		}
		if width := time.Since(before); width < narrowest {
			narrowest = width
			best = Clock{origin: before, offset: now.Nano() - int64(width/2)}
		}
	}
	return best, nil
}

// Read returns the same instant on the monotonic and on the wall clock, in ns.
func (c *Clock) Read() (now, wall int64) {
	t := time.Now()
	return c.offset + int64(t.Sub(c.origin)), t.UnixNano()
}
