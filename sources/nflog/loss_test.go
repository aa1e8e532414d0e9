package nflog

import (
	"testing"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestGapLive does not read while more packets are logged than fit, and finds each of them told of or lost.
func TestGapLive(t *testing.T) {
	nettest.Require(t)
	h := nettest.NewHost(t)
	h.Run("nft", `table inet f { chain out { type filter hook output priority 0; udp dport 9 log prefix "DROP:x " group 5 drop; }; }`)
	s := open(t, h, `{"groups": [5], "buffer": "64KiB"}`)
	const sent = 3000
	sends(t, h, "127.0.0.1:9", sent)
	read, lost := uint64(0), uint64(0)
	add := func(events []source.Event) {
		for _, e := range events {
			if e.What == source.Lost {
				lost += e.Lost[event.PolicyDeny]
			} else {
				read++
			}
		}
	}
	add(events(t, s, 1))
	if lost == 0 || read+lost != sent || read < 50 {
		t.Errorf("%d read and %d lost of %d", read, lost, sent)
	}
	// The gap that it makes is known already.
	sends(t, h, "127.0.0.1:9", 1)
	after := events(t, s, 1)
	if add(after); len(after) != 1 || read+lost != sent+1 {
		t.Errorf("after it %d read and %d lost of %d, the last %+v", read, lost, sent+1, after)
	}
	if counter(s, "lost") != lost || counter(s, "overruns") == 0 || s.Status().(Status).Groups[0].Missing != lost {
		t.Errorf("%d lost: %+v", lost, s.Status())
	}
	balanced(t, s)
}

// TestGapOfSeveral does the same with messages of several packets.
func TestGapOfSeveral(t *testing.T) {
	nettest.Require(t)
	h := nettest.NewHost(t)
	h.Run("nft", `table inet f { chain out { type filter hook output priority 0; udp dport 9 log prefix "DROP:x " group 5 drop; }; }`)
	s := open(t, h, `{"groups": [5], "buffer": "64KiB", "queue_threshold": 20, "flush": "1m"}`)
	sends(t, h, "127.0.0.1:9", 3000)
	events(t, s, 1)
	if lost := counter(s, "lost"); lost == 0 || lost%20 != 0 || counter(s, "denied")+lost < 3000 {
		t.Errorf("%d read and at most %d lost of 3000", counter(s, "denied"), lost)
	}
	bound := counter(s, "lost")
	sends(t, h, "127.0.0.1:9", 20)
	missing := func() uint64 { return s.Status().(Status).Groups[0].Missing }
	for counter(s, "denied")+missing() < 3020 {
		events(t, s, 1)
	}
	if read := counter(s, "denied"); read+missing() != 3020 || missing() > bound || counter(s, "lost") != bound {
		t.Errorf("%d read, %d missing, %d then %d lost", read, missing(), bound, counter(s, "lost"))
	}
}
