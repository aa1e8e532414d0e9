package nettest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long nettest waits for what must happen.
const patience = 30 * time.Second

// Drive measures a receive loop under flood: it calls receive on one locked thread until b.N packets have come, while
// from sends as fast as it can. It reports
//
//   - cpu-ns/pkt, the CPU time of the receiving thread per packet, user and system: the figure to compare, for the
//     generator shares the machine and sets the packet rate;
//   - pkts/s, for people.
//
// receive returns how many packets it got; it may sleep, but not for ever. Two benchmarks whose receive functions
// differ in what they do with a packet give the cost of that difference.
func Drive(b *testing.B, from *Host, flood Flood, receive func() (int, error)) {
	b.Helper()
	flood.Count, flood.For = 1<<62, time.Hour // ended by stop
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := from.Flood(ctx, flood)
		done <- err
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			b.Errorf("generator: %v", err)
		}
	}()

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	packets, seen, since := 0, 0, time.Now() // since the last packet
	step := func() {
		n, err := receive()
		if err != nil {
			b.Fatalf("receive: %v", err)
		}
		if packets += n; n > 0 {
			return
		}
		// Only a turn that brought nothing pays for the clock.
		if packets != seen {
			seen, since = packets, time.Now()
		} else if time.Since(since) > patience {
			b.Fatalf("no packet for %v", patience)
		}
	}
	for packets == 0 { // until the generator has started
		step()
	}

	packets, seen, since = 0, 0, time.Now()
	b.ResetTimer()
	start := ThreadCPU(b)
	for packets < b.N {
		step()
	}
	used := ThreadCPU(b) - start
	b.StopTimer()
	b.ReportMetric(float64(used.Nanoseconds())/float64(packets), "cpu-ns/pkt")
	b.ReportMetric(float64(packets)/b.Elapsed().Seconds(), "pkts/s")
}

// ThreadCPU returns the CPU time, user and system, that the calling thread has used. The caller has locked itself to
// its thread.
func ThreadCPU(t testing.TB) time.Duration {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		t.Fatalf("nettest: getrusage: %v", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
