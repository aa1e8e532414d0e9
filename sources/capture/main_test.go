package capture

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that no reading goroutine is left behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
