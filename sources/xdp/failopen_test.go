package xdp

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/xsk"
)

// goesPast sends frames until one arrives.
func goesPast(t *testing.T, from, to *nettest.Wire, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		from.Send(numbered(n, 1))
		if frame := to.Receive(20); frame != nil && number(frame) == n {
			return
		}
	}
	t.Fatalf("no frame %d has gone past", n)
}

// Frames go past workers that do not come, and past nobody, in both directions, also after the interface of the peer has become another.
func TestGoesPast(t *testing.T) {
	p := cables(t, 1)
	p.bpffs, p.onFailure = nettest.BPFFS(t), xsk.FailOpen
	p.start(t)
	p.left.AcceptFlood("wire")
	left := p.left.Wire("wire")
	stop := p.work(t, func(*packet.Frame) source.Verdict { return source.Forward })
	p.middle.Delete("right")
	p.wait(p.fromRight, "waiting", func(st State) bool { return st.Condition == Waiting })
	nettest.Cable(p.right, "wire", p.middle, "right", 1)
	p.right.AcceptFlood("wire")
	p.wait(p.fromRight, "up", func(st State) bool { return st.Condition == Up })
	right := p.right.Wire("wire")
	left.Send(numbered(1, 1))
	if number(next(right)) != 1 {
		t.Fatal("it does not work")
	}
	goesPast(t, right, left, 2) // until its worker has begun, what comes from there ends
	stop()
	goesPast(t, left, right, 3)
	goesPast(t, right, left, 4)
	for _, s := range []*Source{p.fromLeft, p.fromRight} {
		stats, err := s.Stats()
		if err != nil || stats.Program.PastStalled == 0 || stats.Program.PastNoSocket != 0 {
			t.Errorf("%+v, %v", stats.Program, err)
		}
		if st := s.State(); st.OnFailure != "open" || filepath.Dir(st.Pinned) != filepath.Join(p.bpffs, "pipelined") || st.Bypass {
			t.Errorf("%+v", st)
		}
		var past uint64
		for _, c := range (plugged{s}).Counters() {
			if c.Bypassed {
				past += c.Value
			}
		}
		if past != stats.Program.PastSent {
			t.Errorf("%d in the metrics, %d counted", past, stats.Program.PastSent)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	goesPast(t, left, right, 5)
	goesPast(t, right, left, 6)
	// Of the interface that is gone nothing is left.
	if pins, err := os.ReadDir(filepath.Join(p.bpffs, "pipelined")); err != nil || len(pins) != 2 {
		t.Errorf("pins: %v, %v", pins, err)
	}
}

// An interface that goes before its worker comes for the first time does not stop the worker: the source reopens it.
func TestBeginOnGoneInterface(t *testing.T) {
	p := cables(t, 1)
	config := xsk.Config{Interface: "left", Frames: 64, Bridge: true, BPFFS: nettest.BPFFS(t)}
	begin := func(before func()) {
		t.Helper()
		var device *xsk.Interface
		var err error
		p.middle.Do(func() { device, err = xsk.Open(config) })
		if err != nil {
			t.Fatal(err)
		}
		before()
		if err := (&attachment{device: device, sockets: device.Queues()}).begin(); err != nil {
			t.Error(err)
		}
		if err := device.Close(); err != nil {
			t.Error(err)
		}
	}
	begin(func() {})
	begin(func() { p.middle.Delete("left") }) // it was to take the program over
}
