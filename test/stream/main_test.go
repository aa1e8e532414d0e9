package stream

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// role is the environment variable that makes a process of this test program one of the children below.
const role = "PIPELINED_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "journal":
		journalReceiver()
	case "count":
		countReceiver()
	case "bare":
		bareReceiver()
	default:
		goleak.VerifyTestMain(m)
	}
}
