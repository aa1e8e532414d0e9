package xdp

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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

// One side is in native and the other in generic mode, and the peer is renamed: frames cross in both directions with workers, and go past
// without.
func TestMixedModes(t *testing.T) {
	p := cables(t, 1)
	p.bpffs, p.onFailure = nettest.BPFFS(t), xsk.FailOpen
	p.attach = map[string]xsk.Mode{"left": xsk.Native, "right": xsk.Generic}
	p.start(t)
	p.left.AcceptFlood("wire")
	p.right.AcceptFlood("wire")
	left, right := p.left.Wire("wire"), p.right.Wire("wire")
	stop := p.work(t, func(*packet.Frame) source.Verdict { return source.Forward })
	both := func(n int) {
		t.Helper()
		left.Send(numbered(n, 1))
		right.Send(numbered(n+1, 1))
		if l, r := number(next(right)), number(next(left)); l != n || r != n+1 {
			t.Errorf("received %d and %d, want %d and %d", l, r, n, n+1)
		}
	}
	both(1)
	link := p.middle.Link("right")
	var err error
	p.middle.Do(func() { err = netlink.LinkSetName(link, "renamed") })
	if err != nil {
		t.Fatal(err)
	}
	both(3)
	if lost := stop(); lost != 0 {
		t.Errorf("%d frames were not sent", lost)
	}
	goesPast(t, left, right, 5)
	goesPast(t, right, left, 6)
	for _, s := range []*Source{p.fromLeft, p.fromRight} {
		if st := s.State(); st.Mode != p.attach[st.Interface].String() || st.Reopened != 0 {
			t.Errorf("%+v", st)
		}
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
		p.middle.Do(func() { device, err = xsk.Open(t.Context(), config) })
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

// A program that somebody takes off is noticed, told once, and attached again; so it is when another one in its place has gone. What this run
// itself has left is of no former run.
func TestTakenOff(t *testing.T) {
	p := cables(t, 1)
	p.bpffs, p.onFailure = nettest.BPFFS(t), xsk.FailOpen
	var mu sync.Mutex
	told := make(map[string]int)
	noted := p.warn
	p.warn = func(msg string, args ...any) {
		mu.Lock()
		told[msg]++
		mu.Unlock()
		noted(msg, args...)
	}
	p.start(t)
	p.work(t, func(*packet.Frame) source.Verdict { return source.Forward })
	left, right := p.left.Wire("wire"), p.right.Wire("wire")
	takeOff := func() {
		t.Helper()
		p.middle.Do(func() {
			list, err := xsk.Attachments(p.bpffs, "left")
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range list {
				if a.Interface == "left" {
					err = errors.Join(err, a.Remove(true))
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	takeOff()
	p.wait(p.fromLeft, "attached again", func(st State) bool { return st.Condition == Up && st.Reopened == 1 && st.Pinned != "" })
	goesPast(t, left, right, 1)

	var other link.Link
	for other == nil { // the source may be sooner
		takeOff()
		other = foreign(t, p.middle, "left")
	}
	p.wait(p.fromLeft, "kept off", func(st State) bool {
		return st.Condition == Waiting && strings.Contains(st.Error, xsk.ErrProgramAttached.Error())
	})
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	p.wait(p.fromLeft, "attached again", func(st State) bool { return st.Condition == Up })
	goesPast(t, left, right, 2)
	reopened := p.fromLeft.State().Reopened

	p.left.SetMTU("wire", 3000)
	p.middle.SetMTU("left", 3000)
	p.wait(p.fromLeft, "with larger buffers", func(st State) bool { return st.Condition == Up && st.Reopened == reopened+1 })
	goesPast(t, left, right, 3)
	mu.Lock()
	defer mu.Unlock()
	if n := told["interface is closed and will be opened again"]; n != int(reopened)+1 {
		t.Errorf("told %d times that it is closed, and it was %d times: %v", n, reopened+1, told)
	}
	if n := told["goes on with the XDP program that was left on the interface"]; n != 0 {
		t.Errorf("told %d times of a former run", n)
	}
}

// foreign attaches a program of somebody else to an interface; it returns nil if there is one.
func foreign(t *testing.T, h *nettest.Host, name string) link.Link {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	var attached link.Link
	index := h.Link(name).Attrs().Index
	h.Do(func() { attached, err = link.AttachXDP(link.XDPOptions{Program: program, Interface: index}) })
	if errors.Is(err, unix.EBUSY) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = attached.Close() })
	return attached
}
