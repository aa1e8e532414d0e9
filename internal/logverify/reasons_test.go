package logverify

import (
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

// Every reason that a record can have is one that the text may have.
func TestReasonsOfLosses(t *testing.T) {
	for why := range event.LossRestart + 1 {
		if text := "events lost: reason=" + why.String() + " since=2026-03-01T10:15:23.500Z policy-deny=42"; !lossText.MatchString(text) {
			t.Errorf("%s: not the text of a loss record", text)
		}
	}
}
