package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestP3ResetIsNoAnswer floods a host from forged addresses with what it answers with a reset, or what the owner of the
// address does: none of the sessions is one that both ends want, and all their records are in the class that is limited.
func TestP3ResetIsNoAnswer(t *testing.T) {
	const seconds, perSecond, after = 10, 60, 60
	for _, c := range []struct {
		name  string
		flags []uint8 // of the packets of one flow
		back  []bool  // whether each comes from the server
	}{
		{"ACK, RST", []uint8{ack, rst}, []bool{false, true}},
		{"ACK, RST and ACK", []uint8{ack, rst | ack}, []bool{false, true}},
		{"SYN, RST and ACK", []uint8{syn, rst | ack}, []bool{false, true}},
		{"SYN, SYN-ACK, RST", []uint8{syn, syn | ack, rst}, []bool{false, true, false}},
		{"SYN, SYN-ACK, RST and ACK", []uint8{syn, syn | ack, rst | ack}, []bool{false, true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRigLimited(t, roomy, admission.Rate{PerSecond: 2, Burst: 5})
			for s := range seconds {
				at := time.Duration(s) * time.Second
				for i := range perSecond {
					src := fmt.Sprintf("203.0.%d.%d", s, i)
					var b []timed
					for j, flags := range c.flags {
						f := timed{at, tcpFrame(t, src, 4000, server, 443, flags), ""}
						if c.back[j] {
							f = timed{at, tcpFrame(t, server, 443, src, 4000, flags), "wan0"}
						}
						b = append(b, f)
					}
					r.batch(b...)
				}
			}
			for s := seconds; s < seconds+after; s++ {
				r.timeout(time.Duration(s) * time.Second)
			}
			n := 0
			for _, rec := range r.run() {
				if rec.Kind() != event.Loss {
					n++
				}
			}
			if most := 5 + 2*(seconds+after); n > most || n == 0 {
				t.Errorf("%d records of %d sessions, want at most %d", n, seconds*perSecond, most)
			}
			if got := r.Sessions.Stats().Created; got != seconds*perSecond {
				t.Errorf("%d sessions, want %d", got, seconds*perSecond)
			}
		})
	}
}
