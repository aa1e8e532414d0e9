package xdp

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// clock reads the kernel's monotonic clock the cheap way. All sources of a process, and all their queues, have to agree
// on the time, so it is CLOCK_MONOTONIC itself and not the time since some start; Go reads that clock without a system
// call, but shows only differences.
type clock struct {
	origin time.Time
	offset int64 // CLOCK_MONOTONIC at origin, in ns
}

// newClock compares the two clocks, to well under a microsecond unless the machine is very busy.
func newClock() (clock, error) {
	var best clock
	narrowest := time.Duration(1<<63 - 1)
	for range 16 {
		var now unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return clock{}, fmt.Errorf("read the monotonic clock: %w", err)
		}
		if width := time.Since(before); width < narrowest {
			narrowest = width
			best = clock{origin: before, offset: now.Nano() - int64(width/2)}
		}
	}
	return best, nil
}

// read returns the same instant on the monotonic and on the wall clock, in ns.
func (c *clock) read() (now, wall int64) {
	t := time.Now()
	return c.offset + int64(t.Sub(c.origin)), t.UnixNano()
}
