package xdp

import (
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/xsk"
)

func TestCarrier(t *testing.T) {
	up, down, off := xsk.Link{On: true, Up: true}, xsk.Link{On: true}, xsk.Link{}
	for name, steps := range map[string][]struct {
		at   time.Duration
		link xsk.Link
		lost bool
	}{
		"loss":                  {{0, up, false}, {1, down, true}, {2, down, true}, {3, up, false}, {4, down, true}},
		"switched off":          {{0, up, false}, {1, off, false}, {time.Hour, off, false}},
		"slow after an on":      {{0, up, false}, {1, off, false}, {2, down, false}, {settling + 2, down, false}, {settling + 3, down, true}, {settling + 4, up, false}},
		"none at the start":     {{0, down, false}, {settling, down, false}, {settling + 1, down, true}},
		"on, and off, and on":   {{0, down, false}, {settling, off, false}, {settling + 1, down, false}, {settling + 2, down, false}},
		"loss soon after an on": {{0, off, false}, {1, up, false}, {2, down, true}},
	} {
		var c carrier
		for i, s := range steps {
			if got := c.lost(s.link, time.Unix(1000, 0).Add(s.at)); got != s.lost {
				t.Errorf("%s, step %d: lost %v", name, i, got)
			}
		}
	}
}

// propagating is a pair that propagates its links.
func propagating(t *testing.T, before func(p *pair)) *pair {
	t.Helper()
	p := cables(t, 1)
	p.propagate = true
	if before != nil {
		before(p)
	}
	p.start(t)
	return p
}

// is waits until an interface of the host in the middle is switched on, or off.
func (p *pair) is(t *testing.T, name string, on bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(patience); ; <-tick.C {
		link := p.middle.Link(name)
		marked := link.Attrs().Alias != ""
		if switchedOn(link) == on && marked == !on {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("%s is on %v, marked %v; want on %v", name, switchedOn(link), marked, on)
		}
	}
}

func (p *pair) holds(t *testing.T, s *Source, holds bool) {
	t.Helper()
	p.wait(s, "holding down", func(st State) bool { return st.PeerHeldDown == holds })
}

// The interface of the peer follows the carrier of the other, in both directions, and is up again after the end.
func TestLinkPropagation(t *testing.T) {
	p := propagating(t, nil)
	for range 2 {
		p.left.SetDown("wire")
		p.is(t, "right", false)
		p.holds(t, p.fromLeft, true)
		p.wait(p.fromRight, "down", func(st State) bool { return st.Condition == Down })
		p.left.SetUp("wire")
		p.is(t, "right", true)
		p.holds(t, p.fromLeft, false)
		p.wait(p.fromRight, "up", func(st State) bool { return st.Condition == Up })
	}
	if n := p.fromLeft.propagated.Load(); n != 2 || p.fromRight.propagated.Load() != 0 {
		t.Errorf("taken down %d times, and %d", n, p.fromRight.propagated.Load())
	}
	p.right.SetDown("wire")
	p.is(t, "left", false)
	if err := p.fromRight.Close(); err != nil {
		t.Fatal(err)
	}
	p.is(t, "left", true)
}

// An interface that is gone has no carrier.
func TestLinkPropagationGone(t *testing.T) {
	p := propagating(t, nil)
	p.middle.Delete("left")
	p.is(t, "right", false)
	cableAgain(p)
	p.is(t, "right", true)
}

// What was switched off by hand stays so.
func TestLinkPropagationLeavesOff(t *testing.T) {
	p := propagating(t, nil)
	p.middle.SetDown("right")
	p.wait(p.fromRight, "down", func(st State) bool { return st.Condition == Down })
	p.left.SetDown("wire")
	p.wait(p.fromLeft, "down", func(st State) bool { return st.Condition == Down })
	p.left.SetUp("wire")
	p.wait(p.fromLeft, "up", func(st State) bool { return st.Condition == Up })
	if link := p.middle.Link("right"); switchedOn(link) || link.Attrs().Alias != "" {
		t.Errorf("%+v", link.Attrs())
	}
	p.middle.SetUp("right")
	p.wait(p.fromRight, "up", func(st State) bool { return st.Condition == Up })
	p.middle.SetDown("left") // by hand: says nothing of the cable
	p.wait(p.fromLeft, "down", func(st State) bool { return st.Condition == Down })
	p.middle.SetUp("left")
	p.wait(p.fromLeft, "up", func(st State) bool { return st.Condition == Up })
	if n := p.fromLeft.propagated.Load() + p.fromRight.propagated.Load(); n != 0 {
		t.Errorf("taken down %d times", n)
	}
}

// When both lose their carrier, one waits for the other, and not each for the other.
func TestLinkPropagationBoth(t *testing.T) {
	p := propagating(t, nil)
	p.left.SetDown("wire")
	p.right.SetDown("wire")
	p.wait(p.fromLeft, "holding or held", func(st State) bool { return st.PeerHeldDown != p.fromRight.State().PeerHeldDown })
	p.left.SetUp("wire")
	p.right.SetUp("wire")
	p.is(t, "left", true)
	p.is(t, "right", true)
	p.wait(p.fromRight, "up", func(st State) bool { return st.Condition == Up })
}

// What a run that was killed has left is switched on as soon as there is a carrier, and not before.
func TestLinkPropagationAfterKill(t *testing.T) {
	killed := func(p *pair) {
		link := p.middle.Link("right")
		p.middle.Do(func() {
			if err := netlink.LinkSetAlias(link, aliasPrefix+"left"); err != nil {
				t.Fatal(err)
			}
		})
		p.middle.SetDown("right")
	}
	t.Run("carrier", func(t *testing.T) { propagating(t, killed).is(t, "right", true) })
	t.Run("none yet", func(t *testing.T) {
		p := propagating(t, func(p *pair) {
			killed(p)
			p.left.SetDown("wire")
		})
		p.holds(t, p.fromLeft, true)
		p.is(t, "right", false)
		p.left.SetUp("wire")
		p.is(t, "right", true)
	})
}

// Another interface that gets the name of one that is held down is taken down, too; nothing is held while there is none.
func TestLinkPropagationPeerMadeAgain(t *testing.T) {
	p := propagating(t, nil)
	p.left.SetDown("wire")
	p.is(t, "right", false)
	p.holds(t, p.fromLeft, true)
	p.middle.Delete("right")
	p.holds(t, p.fromLeft, false)
	nettest.Cable(p.right, "wire", p.middle, "right", 1)
	p.is(t, "right", false)
	p.holds(t, p.fromLeft, true)
	p.left.SetUp("wire")
	p.is(t, "right", true)
	p.wait(p.fromRight, "up", func(st State) bool { return st.Condition == Up })
}

// An interface that cannot be switched off keeps no mark.
func TestLinkPropagationFails(t *testing.T) {
	p := propagating(t, nil)
	tried := make(chan struct{}, 1)
	p.fromLeft.mu.Lock() // its goroutine looks later, and takes the lock before
	p.fromLeft.switchOff = func(netlink.Link) error {
		tried <- struct{}{}
		return unix.EPERM
	}
	p.fromLeft.mu.Unlock()
	p.left.SetDown("wire")
	<-tried
	p.is(t, "right", true)
	p.holds(t, p.fromLeft, false)
}

// cableAgain makes the cable on the left again.
func cableAgain(p *pair) { nettest.Cable(p.left, "wire", p.middle, "left", 1) }
