package worker

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/hook"
)

// TestCaptureSharesTable looks at the sessions from elsewhere in the middle of a batch of a capture's only worker, which may then wait for a
// sink, however long: it does not keep others out meanwhile.
func TestCaptureSharesTable(t *testing.T) {
	var r *rig
	r = newRig(t, complete, ingress(func(*hook.Packet, *hook.Finding) hook.Verdict {
		seen := make(chan struct{})
		go func() {
			r.Sessions.Stats()
			close(seen)
		}()
		select {
		case <-seen:
		case <-time.After(time.Minute):
			t.Error("nobody gets at the table while the worker carries a batch")
		}
		return hook.Pass
	}))
	r.batch(timed{0, tcpFrame(t, client, 9, server, 443, syn), ""})
	r.run()
}
