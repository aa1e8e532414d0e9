package xsk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// inPath is a host with "left" and "right", each at a cable to another host, and a BPF file system.
type inPath struct {
	t                   testing.TB
	middle, left, right *nettest.Host
	from, to            *nettest.Wire
	bpffs               string
}

func newInPath(t testing.TB) *inPath {
	t.Helper()
	middle, left, right := pair(t, 1)
	for _, end := range []*nettest.Host{left, right} {
		end.AcceptFlood("wire") // a veth takes what XDP redirects only if the other end has a program
	}
	return &inPath{t, middle, left, right, left.Wire("wire"), right.Wire("wire"), nettest.BPFFS(t)}
}

func (p *inPath) config(failure Failure) Config {
	return Config{Interface: "left", Frames: 64, Bridge: true, Promiscuous: true, BPFFS: p.bpffs, OnFailure: failure, OnFailureAfter: 50 * time.Millisecond}
}

// open opens "left", whose peer is "right", and closes it at the end of the test, if it is open still. Nothing is read yet.
func (p *inPath) open(config Config) *Interface {
	p.t.Helper()
	i, err := tryOpen(p.middle, config)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = i.Close() }) // the test has looked at what it returns
	index := p.middle.Link("right").Attrs().Index
	p.middle.Do(func() { err = i.SetPeer(index) })
	if err != nil {
		p.t.Fatal(err)
	}
	return i
}

func (p *inPath) close(i *Interface) {
	p.t.Helper()
	if err := i.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// attachments returns what is pinned.
func (p *inPath) attachments(names ...string) (list []*Attachment) {
	p.t.Helper()
	var err error
	p.middle.Do(func() { list, err = Attachments(p.bpffs, names...) })
	if err != nil {
		p.t.Fatal(err)
	}
	return list
}

// attachment returns the only one.
func (p *inPath) attachment() *Attachment {
	p.t.Helper()
	list := p.attachments()
	if len(list) != 1 || list[0].Err != nil {
		p.t.Fatalf("attachments: %+v", list)
	}
	return list[0]
}

func (p *inPath) detach(a *Attachment, force bool) (err error) {
	p.middle.Do(func() { err = a.Remove(force) })
	return err
}

// crosses sends a frame, and reports whether it came out by the other interface.
func (p *inPath) crosses(n int) bool {
	p.from.Send(numbered(n))
	return number(kernelReceives(p.to)) == n
}

// passesStalled sends frames until one has gone past the reader, whose queue must have room for those before it.
func (p *inPath) passesStalled(n int) {
	p.t.Helper()
	await.Until(p.t, "past a reader that hangs", func() bool {
		p.from.Send(numbered(n))
		return number(p.to.Receive(20)) == n
	})
}

// stops sends a frame, and reports whether nothing came out by the other interface.
func (p *inPath) stops(n int) bool {
	p.from.Send(numbered(n))
	return p.to.Receive(20) == nil
}

// nothingLeft holds that no program, pin or setting is left.
func (p *inPath) nothingLeft() {
	p.t.Helper()
	attrs := p.middle.Link("left").Attrs()
	if _, attached := attachedProgram(p.middle.Link("left")); attached || attrs.Promisc != 0 {
		p.t.Errorf("a program is left (%v), or the interface is promiscuous (%d)", attached, attrs.Promisc)
	}
	left, err := filepath.Glob(filepath.Join(p.bpffs, "pipelined", "*"))
	if err != nil || len(left) > 0 {
		p.t.Errorf("pins are left: %q, %v", left, err)
	}
}

func TestFailOpen(t *testing.T) {
	p := newInPath(t)
	i := p.open(p.config(FailOpen))
	s := i.Queues()[0]
	if got := p.attachment(); got.Interface != "left" || got.Peer != "right" || !got.Read || got.Bypass {
		t.Errorf("attached: %+v", got)
	}
	// Before anybody reads it is as configured only once a reader has begun: until then nothing crosses.
	if !p.stops(1) {
		t.Error("a frame has crossed before anybody said that it may")
	}
	serve(t, i)
	p.from.Send(numbered(2))
	if got := collect(t, i, 1); got[2] != 1 {
		t.Errorf("received %v", got)
	}
	// A reader that does not come for what waits is passed, once its time is over.
	p.from.Send(numbered(3))
	p.passesStalled(4)
	if got := collect(t, i, 1); got[3] != 1 {
		t.Errorf("a reader that has come back received %v", got)
	}
	p.from.Send(numbered(5))
	if got := collect(t, i, 1); got[5] != 1 {
		t.Errorf("a reader that has come back received %v", got)
	}
	c := counters(t, i)
	if c.Redirected < 3 || c.PastStalled == 0 || c.Dropped != 1 || c.PastNoSocket != 0 {
		t.Errorf("counters: %+v", c)
	}
	stalled := c.PastStalled

	// Nobody reads: as soon as it is closed, and also when the time for a frame that waited is over.
	p.from.Send(numbered(6))
	p.close(i)
	unread := uint64(0)
	for begun := time.Now(); unread < 5 || time.Since(begun) < 150*time.Millisecond; unread++ {
		if !p.crosses(10) {
			t.Fatalf("frame %d has not crossed", unread)
		}
	}
	if c := counters(t, i); c.PastStalled != stalled || s.waiting == nil {
		t.Errorf("counters after closing: %+v", c)
	}
	a := p.attachment()
	if a.Read || a.OnFailure != FailOpen || a.Patience < 50*time.Millisecond || a.Unread.PastNoSocket != unread || a.Unread.PastStalled != stalled {
		t.Errorf("attached: %+v", a)
	}
	before, _ := attachedProgram(p.middle.Link("left"))

	// The next one tells of them, goes on with the link, and replaces the program.
	i = p.open(p.config(FailOpen))
	if !p.crosses(20) {
		t.Error("not past an interface that is open, and not read yet")
	}
	if now, _ := attachedProgram(p.middle.Link("left")); now != before {
		t.Error("the program was replaced before anybody reads")
	}
	serve(t, i)
	if now, _ := attachedProgram(p.middle.Link("left")); now == before {
		t.Error("the program was not replaced")
	}
	if c := counters(t, i); c.Unread != (Unread{PastNoSocket: unread + 1, PastSent: unread + 1}) {
		t.Errorf("counters: %+v", c)
	}
	p.from.Send(numbered(21))
	if got := collect(t, i, 1); got[21] != 1 {
		t.Errorf("received %v", got)
	}
	// In its second life: what was told is not told again.
	p.close(i)
	i = p.open(p.config(FailOpen))
	serve(t, i)
	if c := counters(t, i); c.Unread != (Unread{}) {
		t.Errorf("counters: %+v", c)
	}
	if err := p.detach(p.attachment(), false); !errors.Is(err, ErrInUse) {
		t.Errorf("taken off under a reader: %v", err)
	}
	p.close(i)
	if err := p.detach(p.attachment(), false); err != nil {
		t.Error(err)
	}
	p.nothingLeft()
}

func TestFailClosed(t *testing.T) {
	p := newInPath(t)
	i := p.open(p.config(FailClosed))
	serve(t, i)
	for n := range 3 {
		if !p.stops(n) { // it waits, however long: nothing goes past
			t.Errorf("frame %d has crossed", n)
		}
	}
	if got := collect(t, i, 3); len(got) != 3 {
		t.Errorf("received %v", got)
	}
	p.close(i)
	kernel := p.middle.Wire("left")
	if !p.stops(4) || kernel.Receive(20) != nil {
		t.Error("a frame has crossed, or went to the kernel")
	}
	if a := p.attachment(); a.OnFailure != FailClosed || a.Unread != (Unread{Dropped: 1}) {
		t.Errorf("attached: %+v", a)
	}
	// By hand all goes past, whoever reads.
	if err := p.attachment().SetBypass(true); err != nil {
		t.Fatal(err)
	}
	if !p.crosses(5) {
		t.Error("not past nobody")
	}
	i = p.open(p.config(FailClosed))
	serve(t, i)
	if !i.Bypassed() || !p.crosses(6) {
		t.Error("not past a reader")
	}
	if err := p.attachment().SetBypass(false); err != nil {
		t.Fatal(err)
	}
	p.from.Send(numbered(7))
	if got := collect(t, i, 1); got[7] != 1 || i.Bypassed() {
		t.Errorf("received %v", got)
	}
	if c := counters(t, i); c.Unread != (Unread{PastByHand: 2, PastSent: 2, Dropped: 1}) {
		t.Errorf("counters: %+v", c)
	}
	// A frame for which there is no peer is dropped, and counted.
	if err := errors.Join(i.SetPeer(0), p.attachment().SetBypass(true)); err != nil {
		t.Fatal(err)
	}
	if !p.stops(8) {
		t.Error("a frame has crossed without a peer")
	}
	if c := counters(t, i); c.Dropped != 2 {
		t.Errorf("counters: %+v", c)
	}
	p.close(i)
	if err := p.detach(p.attachment(), false); err != nil {
		t.Error(err)
	}
	p.nothingLeft()
}

// What was never read leaves nothing, neither does an interface that goes.
func TestPinsLeaveNothing(t *testing.T) {
	p := newInPath(t)
	p.close(p.open(p.config(FailOpen)))
	p.nothingLeft()

	i := p.open(p.config(FailOpen))
	serve(t, i)
	if _, err := tryOpen(p.middle, p.config(FailOpen)); !errors.Is(err, ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
	p.close(i)
	descriptors := openDescriptors(t)
	for range 3 { // one that does not begin changes nothing
		i = p.open(p.config(FailOpen))
		p.close(i)
		if !p.crosses(1) {
			t.Error("a frame has not crossed")
		}
	}
	if n := openDescriptors(t); n > descriptors {
		t.Errorf("%d descriptors, %d before", n, descriptors)
	}

	// A tap takes off what a bridge has left.
	tap := open(t, p.middle, Config{Interface: "left", Frames: 64, BPFFS: p.bpffs})
	p.from.Send(numbered(2))
	if got := collect(t, tap, 1); got[2] != 1 {
		t.Errorf("a tap received %v", got)
	}
	p.close(tap)
	p.nothingLeft()

	// With another mode the program is attached anew.
	i = p.open(p.config(FailOpen))
	serve(t, i)
	p.close(i)
	generic := p.config(FailOpen)
	generic.Attach = Generic
	i = p.open(generic)
	serve(t, i)
	p.from.Send(numbered(3))
	if got := collect(t, i, 1); got[3] != 1 || i.Mode() != Generic {
		t.Errorf("in %v mode, received %v", i.Mode(), got)
	}
	p.close(i)
	if !p.crosses(4) { // in generic mode
		t.Error("a frame has not crossed")
	}
	if p.middle.Link("left").Attrs().Promisc == 0 {
		t.Error("the interface is not promiscuous any more")
	}

	// The interface goes, and its pins with the next start, or with the close.
	p.middle.Delete("left")
	nettest.Cable(p.left, "wire", p.middle, "left", 1)
	p.left.AcceptFlood("wire")
	p.from = p.left.Wire("wire")
	i = p.open(p.config(FailOpen))
	serve(t, i)
	if list := p.attachments(); len(list) != 1 {
		t.Errorf("attached: %+v", list)
	}
	p.middle.Delete("left")
	waitForLink(t, i, "gone", func(l Link) bool { return l.Gone })
	p.close(i)
	if list := p.attachments(); len(list) != 0 {
		t.Errorf("attached: %+v", list)
	}
}

// With mode "auto" the program of a run in generic mode is replaced by one in native mode, unless the driver refuses that, still.
func TestNativeAgain(t *testing.T) {
	for _, refused := range []bool{false, true} {
		p := newInPath(t)
		if refused { // fewer queues than the other end sends by
			p.middle.Delete("left")
			nettest.Cable(p.left, "wire", p.middle, "left", 2)
			p.middle.Run("ethtool", "-L", "left", "rx", "1")
			p.from = p.left.Wire("wire")
		}
		config := p.config(FailOpen)
		config.Attach = Generic
		want := Native
		for n, next := range []Mode{Auto, Auto} {
			i := p.open(config)
			serve(t, i)
			p.close(i)
			config.Attach = next
			if refused {
				want = Generic
			}
			i = p.open(config)
			serve(t, i)
			p.from.Send(numbered(n))
			if got := collect(t, i, 1); got[n] != 1 || i.Mode() != want {
				t.Errorf("in %v mode, received %v; want %v", i.Mode(), got, want)
			}
			p.close(i)
			if !p.crosses(10 + n) {
				t.Error("a frame has not crossed")
			}
		}
	}
}

// What goes to a peer that is down, or has a smaller MTU, is lost, and is not counted as sent: with and without a daemon, unread and as a packet
// of a flow.
func TestPeerDoesNotTake(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) {
			p := newInPath(t)
			config := p.config(FailOpen)
			config.Attach, config.Flows = mode, flowTable(t, 16, false)
			config.OnFailureAfter = time.Minute
			long := patterned(1000)
			// lose sends three frames that the peer does not take, and one that it does.
			lose := func(count func() (sent, notSent uint64)) {
				t.Helper()
				sent, notSent := count()
				p.middle.SetDown("right")
				p.from.Send(numbered(1))
				p.from.Send(numbered(1))
				await.Until(t, "lost on a peer that is down", func() bool { _, n := count(); return n == notSent+2 })
				p.middle.SetUp("right")
				p.middle.SetMTU("right", 900)
				p.from.Send(long)
				p.from.Send(numbered(2))
				if got := kernelReceives(p.to); number(got) != 2 {
					t.Errorf("received a frame of %d bytes", len(got))
				}
				p.middle.SetMTU("right", 1500)
				await.Until(t, "lost and sent", func() bool { s, n := count(); return n == notSent+3 && s == sent+1 })
			}
			i := p.open(config)
			serve(t, i)
			settled := func() Counters {
				if err := i.Settle(); err != nil {
					t.Error(err)
				}
				return counters(t, i)
			}
			var err error
			peer := Link{Up: true, Index: p.middle.Link("right").Attrs().Index, MTU: 1500}
			if p.middle.Do(func() { err = i.Carry(peer) }); err != nil {
				t.Fatal(err)
			}
			for _, frame := range [][]byte{numbered(1), long} {
				key := keyOf(t, frame)
				config.Flows.Resume(config.Flows.Add(&key))
			}
			lose(func() (uint64, uint64) { c := settled(); return c.CarriedSent, c.CarriedNotSent })
			if c := settled(); c.Carried != 4 || c.Unread != (Unread{}) {
				t.Errorf("counters of what was carried: %+v", c)
			}
			if err := p.attachment().SetBypass(true); err != nil {
				t.Fatal(err)
			}
			lose(func() (uint64, uint64) { c := settled(); return c.PastSent, c.PastNotSent })
			if err := p.attachment().SetBypass(false); err != nil {
				t.Fatal(err)
			}
			p.close(i)
			lose(func() (uint64, uint64) { u := p.attachment().Unread; return u.PastSent, u.PastNotSent })
			i = p.open(config)
			serve(t, i)
			if c := counters(t, i); c.Unread != (Unread{PastNoSocket: 4, PastSent: 1, PastNotSent: 3}) {
				t.Errorf("told of the time before: %+v", c.Unread)
			}
			p.close(i)
		})
	}
}

// patterned returns a datagram of a length, from another port than that of numbered.
func patterned(length int) []byte {
	frame := nettest.UDP{}.Frame(make([]byte, length-42))
	frame[35]++
	return frame
}

// Whoever owns the directory above may put another one in the place of one that is being removed.
func TestRemoveFollowsNothing(t *testing.T) {
	root := t.TempDir()
	path, moved, victim := filepath.Join(root, "1-1"), filepath.Join(root, "moved"), t.TempDir()
	theirs, ours := filepath.Join(victim, pinLink), filepath.Join(moved, pinLink)
	p, err := lockPin(path, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.Rename(path, moved), os.Symlink(victim, path), os.WriteFile(theirs, nil, 0o600), os.WriteFile(ours, nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := os.Stat(p.file(pinLink)); err != nil {
		t.Error(err)
	} else if want, err := os.Stat(ours); err != nil || !os.SameFile(same, want) {
		t.Errorf("what is read is not in the directory that was opened: %v", err)
	}
	if err := p.remove(); err == nil {
		t.Error("no error although the directory is elsewhere")
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("the file of somebody else: %v", err)
	}
	if _, err := os.Stat(ours); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file in the directory that was opened: %v", err)
	}
	if _, err := loadPinned(path); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("read through a link: %v", err)
	}
}

// An interface that goes before anybody reads it is gone, and no fault.
func TestGoneBeforeTakeOver(t *testing.T) {
	p := newInPath(t)
	i := p.open(p.config(FailOpen))
	serve(t, i)
	p.close(i)
	i = p.open(p.config(FailOpen))
	p.middle.Delete("left")
	if err := i.Serve(i.Queues()[0]); !errors.Is(err, ErrInterfaceGone) {
		t.Errorf("begun on an interface that is gone: %v", err)
	}
	waitForLink(t, i, "gone", func(l Link) bool { return l.Gone })
	p.close(i)
	if err := i.Serve(i.Queues()[0]); !errors.Is(err, ErrClosed) {
		t.Errorf("begun on an interface that is closed: %v", err)
	}
}

// What somebody else has pinned or attached, or another version, is told from ours.
func TestForeignPins(t *testing.T) {
	p := newInPath(t)
	i := p.open(p.config(FailOpen))
	serve(t, i)
	p.close(i)
	a := p.attachment()
	settings := func(change func(c *control)) {
		t.Helper()
		found, err := loadPinned(a.Pinned)
		if err != nil {
			t.Fatal(err)
		}
		change(&found.control)
		if err := found.close(); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string, want error) {
		t.Helper()
		before, _ := attachedProgram(p.middle.Link("left"))
		if _, err := tryOpen(p.middle, p.config(FailOpen)); !errors.Is(err, want) || !strings.Contains(err.Error(), "pipelined") {
			t.Errorf("%s: %v", what, err)
		}
		if after, _ := attachedProgram(p.middle.Link("left")); before != after || !p.crosses(1) {
			t.Errorf("%s: it was changed", what)
		}
	}
	settings(func(c *control) { c.Layout++ })
	refused("a newer layout", ErrForeignPin)
	if list := p.attachments(); len(list) != 1 || !errors.Is(list[0].Err, ErrForeignPin) {
		t.Errorf("attached: %+v", list)
	}
	// An older one is replaced, but its bypass stays.
	settings(func(c *control) {
		c.Layout = controlLayout - 1
		atomic.StoreUint32(&c.Bypass, 1)
	})
	i = p.open(p.config(FailOpen))
	serve(t, i)
	if !i.Bypassed() || !p.crosses(2) {
		t.Error("the bypass is over with the replacement")
	}
	p.close(i)
	if a := p.attachment(); a.Unread.PastByHand != 1 || !a.Bypass {
		t.Errorf("attached: %+v", a)
	}
	moved := filepath.Join(p.bpffs, "moved")
	real := filepath.Join(a.Pinned, pinLink)
	if err := errors.Join(os.Rename(real, moved), os.Symlink(moved, real)); err != nil {
		t.Fatal(err)
	}
	refused("a symbolic link", ErrForeignPin)
	if err := errors.Join(os.Remove(real), os.Rename(moved, real)); err != nil {
		t.Fatal(err)
	}
	settings(func(c *control) { c.Magic++ })
	if _, err := tryOpen(p.middle, p.config(FailOpen)); !errors.Is(err, ErrForeignPin) {
		t.Errorf("other settings: %v", err)
	}
	if err := p.detach(a, false); !errors.Is(err, ErrForeignPin) {
		t.Errorf("detached: %v", err)
	}
	if err := p.detach(a, true); err != nil {
		t.Errorf("detached by force: %v", err)
	}
	await.Until(t, "without a program", func() bool { _, attached := attachedProgram(p.middle.Link("left")); return !attached })

	// A program of somebody else, pinned elsewhere.
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	var other link.Link
	index := p.middle.Link("left").Attrs().Index
	p.middle.Do(func() { other, err = link.AttachXDP(link.XDPOptions{Program: program, Interface: index}) })
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Pin(filepath.Join(p.bpffs, "theirs")); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(p.middle, p.config(FailOpen)); !errors.Is(err, ErrProgramAttached) {
		t.Errorf("a program of somebody else: %v", err)
	}
	if list := p.attachments(); len(list) != 0 {
		t.Errorf("attached: %+v", list)
	}
	// And one in our place.
	if err := os.Mkdir(a.Pinned, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Unpin(), other.Pin(filepath.Join(a.Pinned, pinLink))); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(p.middle, p.config(FailOpen)); !errors.Is(err, ErrForeignPin) {
		t.Errorf("a link of somebody else: %v", err)
	}
	if got, _ := attachedProgram(p.middle.Link("left")); got == 0 {
		t.Error("the program of somebody else is gone")
	}
}

// Without a place to pin, the bridge works while the process lives, and says so.
func TestNotPinned(t *testing.T) {
	p := newInPath(t)
	directory := t.TempDir()
	others := filepath.Join(nettest.BPFFS(t))
	if err := os.Mkdir(filepath.Join(others, "pipelined"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(others, "pipelined"), 0o777); err != nil {
		t.Fatal(err)
	}
	for bpffs, want := range map[string]string{
		directory:                       fmt.Sprintf("%s is no BPF file system (there is one at ", directory),
		filepath.Join(directory, "not"): "is no BPF file system",
		others:                          "others may write to it",
	} {
		config := p.config(FailOpen)
		config.BPFFS = bpffs
		i := p.open(config)
		serve(t, i)
		if notes := strings.Join(i.Notes(), "\n"); !strings.Contains(notes, want) || !strings.Contains(notes, "nothing crosses") || i.Pinned() != "" {
			t.Errorf("%s: notes %q", bpffs, notes)
		}
		p.from.Send(numbered(3))
		p.passesStalled(4)
		p.close(i)
		if !p.stops(5) {
			t.Error("a frame has crossed")
		}
		p.nothingLeft()
	}
}

// The doctor tells what is pinned, and what it does.
func TestReportPins(t *testing.T) {
	p := newInPath(t)
	finding := func(verdict machine.Verdict, text, command string) {
		t.Helper()
		p.middle.Do(func() { expect(t, report(t, "left", p.config(FailOpen)), "XDP program", verdict, text, command) })
	}
	finding(machine.OK, "none", "")
	i := p.open(p.config(FailOpen))
	serve(t, i)
	finding(machine.OK, "a daemon reads", "")
	p.close(i)
	finding(machine.OK, "the next goes on with it; meanwhile it sends what nobody reads to its peer", "")
	tap := Config{Interface: "left", BPFFS: p.bpffs}
	p.middle.Do(func() {
		expect(t, report(t, "left", tap), "XDP program", machine.Warning, "the daemon of a bridge has left it", "pipelined detach left")
	})
	if err := p.attachment().SetBypass(true); err != nil {
		t.Fatal(err)
	}
	finding(machine.Warning, "bypassed by hand", "pipelined bypass off left")

	of := func(bpffs string, needed bool) map[string]machine.Finding {
		part := &machine.Part{Name: "AF_XDP", Needed: needed}
		p.middle.Do(func() { ReportPins(part, bpffs, needed) })
		about := make(map[string]machine.Finding)
		for _, f := range part.Findings {
			about[f.Subject] = f
		}
		return about
	}
	none := t.TempDir()
	expect(t, of(none, true), "BPF file system", machine.Warning, "is no BPF file system", "mount -t bpf bpf "+none)
	expect(t, of(none, false), "BPF file system", machine.OK, "only a bridge", "")
	expect(t, of(p.bpffs, true), "BPF file system", machine.OK, p.bpffs, "")
	p.middle.Delete("left")
	expect(t, of(p.bpffs, true), "pins", machine.Warning, "an interface that is gone", "pipelined detach")
	if err := p.detach(p.attachments()[0], false); err != nil {
		t.Error(err)
	}
	if list := p.attachments(); len(list) != 0 {
		t.Errorf("attached: %+v", list)
	}
}
