// Package await waits in tests for what another goroutine or process is bound to do.
package await

import (
	"testing"
	"time"
)

// Patience is how long tests wait. It ends a test that hangs, and no test concludes anything from how long something took.
const Patience = time.Minute

// Until waits until a condition holds, and fails the test if it does not within [Patience].
func Until(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	deadline := time.Now().Add(Patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within %v", what, Patience)
		}
		<-tick.C
	}
}
