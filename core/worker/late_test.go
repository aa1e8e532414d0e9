package worker

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/session"
)

// TestP1WaitingPackets looks at the counters after every batch while packets wait for the first of their session: those that
// wait are not received yet, so that the sum of packets holds at all times.
func TestP1WaitingPackets(t *testing.T) {
	lookup := udpFrame(t, client, 40000, server, 53, 32)
	for _, c := range []struct {
		name   string
		frames []timed // all of them wait
	}{
		{"denied, could be an answer", []timed{{0, udpFrame(t, server, 53, client, 40000, 32), "wan0"}}},
		{"out of state", []timed{{0, tcpFrame(t, server, 443, client, 1000, ack), "wan0"}}},
		{"reset", []timed{{0, tcpFrame(t, server, 443, client, 1000, rst), "wan0"}}},
		{"echo reply", []timed{{0, echoFrame(t, server, client, 0, 1, 1), "wan0"}}},
		{"ICMP error", []timed{{0, errorFrame(t, client, 3, 3, lookup), "wan0"}}},
		{"several that join one session", []timed{
			{0, tcpFrame(t, client, 1000, server, 443, ack), ""}, {0, tcpFrame(t, server, 443, client, 1000, ack), "wan0"},
			{time.Millisecond, tcpFrame(t, client, 1000, server, 443, ack), ""}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newTeam(t, 2, false)
			w := m.workers[0]
			carry := func(at time.Duration, want int, frames ...timed) {
				t.Helper()
				for _, f := range frames {
					frame := m.frame(f.data, f.on)
					if f.on == "" {
						frame = m.frame(f.data, "lan0")
					}
					frame.Time += int64(f.at)
					m.carry(0, at, frame)
				}
				if len(frames) == 0 {
					m.carry(0, at)
				}
				got := w.Counts()
				if sum := got.Passed + got.Refused() + got.Dropped[hook.Ingress] + got.Dropped[hook.Session] + got.Dropped[hook.Egress]; sum != got.Received || sum != uint64(want) {
					t.Errorf("at %v: received %d, decided %d, want %d", at, got.Received, sum, want)
				}
			}
			carry(time.Millisecond, 0, c.frames...)
			carry(2*time.Millisecond, 1, timed{2 * time.Millisecond, udpFrame(t, client, 5000, server, 5001, 8), "lan0"})
			carry(session.Late-1, 1)
			carry(session.Late+2*time.Millisecond, 1+len(c.frames))
			carry(time.Second, 1+len(c.frames))
		})
	}
}

// TestFollow carries a packet that waits together with an earlier one of its flow that has made a session, whichever direction
// it is of, and leaves those of other flows where they are.
func TestFollow(t *testing.T) {
	r := newRig(t, policy(permitAs(7)))
	r.batch(
		timed{0, tcpFrame(t, server, 443, client, 1000, syn|ack), "wan0"},
		timed{40 * time.Millisecond, tcpFrame(t, server, 443, client, 1000, ack), "wan0"},
		timed{41 * time.Millisecond, tcpFrame(t, client, 1000, server, 443, ack), ""},
		timed{42 * time.Millisecond, tcpFrame(t, client, 1001, server, 443, ack), ""},
	)
	r.timeout(time.Duration(session.Late) + 5*time.Millisecond)
	var during Counts
	r.source.onEmpty = func() { during = r.Counts() }
	r.run()
	if during.Received != 3 || during.Passed != 3 {
		t.Errorf("%d packets are carried, %d of them passed, want 3", during.Received, during.Passed)
	}
}
