package xsk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// Several interfaces are opened and closed at once, because most of the time goes into the kernel's grace periods.
func TestReopenThousandTimes(t *testing.T) {
	const interfaces = 8
	cycles := 1000 / interfaces
	if testing.Short() {
		cycles = 50 / interfaces
	}
	var taps [interfaces]*nettest.Host
	var wires [interfaces]*nettest.Wire
	for k := range interfaces {
		var sender *nettest.Host
		sender, taps[k] = cable(t, 1)
		wires[k] = sender.Wire("wire")
	}
	cycle := func(k, n int) error {
		config := Config{Interface: "tap", Frames: 64, Attach: Generic}
		if n%10 == 0 {
			config.Attach, config.Promiscuous = Native, true
		}
		i, err := tryOpen(taps[k], config)
		if err != nil {
			return fmt.Errorf("interface %d, open %d: %w", k, n, err)
		}
		if n%100 == 0 { // it is not only open, it works
			if err := errors.Join(wires[k].TrySend(numbered(n)), awaitNumber(i.Queues()[0], n)); err != nil {
				return fmt.Errorf("interface %d, open %d: %w", k, n, errors.Join(err, i.Close()))
			}
		}
		if err := i.Close(); err != nil {
			return fmt.Errorf("interface %d, close %d: %w", k, n, err)
		}
		return nil
	}
	if err := cycle(0, 0); err != nil { // what is made once per process is made now
		t.Fatal(err)
	}
	descriptors, goroutines := openDescriptors(t), runtime.NumGoroutine()
	var running sync.WaitGroup
	for k := range interfaces {
		running.Go(func() {
			for n := range cycles {
				if err := cycle(k, n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	if n := openDescriptors(t); n > descriptors {
		t.Errorf("%d descriptors, %d before", n, descriptors)
	}
	if n := socketMappings(t); n != 0 {
		t.Errorf("%d mappings of sockets are left", n)
	}
	// A goroutine that has done its work takes a moment to be gone.
	await.Until(t, fmt.Sprintf("back to %d goroutines", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
}

// awaitNumber receives one packet, with this number.
func awaitNumber(s *Socket, want int) error {
	views := make([]Packet, 2)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err := s.Wait(patience); err != nil {
			return err
		}
		n := s.Receive(views)
		if n == 0 {
			continue
		}
		defer s.Release()
		if got := number(views[0].Data); n > 1 || got != want {
			return fmt.Errorf("received %d packets, the first is %d", n, got)
		}
		return nil
	}
	return errors.New("received nothing")
}

func TestRefusesAttachedProgram(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		for _, config := range []Mode{Auto, Native, Generic} {
			t.Run(mode.String()+" is there, "+config.String(), func(t *testing.T) {
				_, tap := cable(t, 1)
				program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
					Type:         ebpf.XDP,
					Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = program.Close() })
				flags := link.XDPDriverMode
				if mode == Generic {
					flags = link.XDPGenericMode
				}
				var other link.Link
				tap.Do(func() {
					other, err = link.AttachXDP(link.XDPOptions{
						Program: program, Interface: tap.Link("tap").Attrs().Index, Flags: flags,
					})
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = other.Close() })
				before, _ := attachedProgram(tap.Link("tap"))

				_, err = tryOpen(tap, Config{Interface: "tap", Attach: config})
				var attached *ProgramAttachedError
				if !errors.Is(err, ErrProgramAttached) || !errors.As(err, &attached) || attached.ID != before {
					t.Errorf("got %v, want program %d", err, before)
				}
				if after, ok := attachedProgram(tap.Link("tap")); !ok || after != before {
					t.Errorf("program %d is attached, before it was %d", after, before)
				}
				if n := socketMappings(t); n != 0 {
					t.Errorf("%d mappings of sockets are left", n)
				}
			})
		}
	}
}

// The kernel refuses a second program too, for the case that it comes between our look and our attachment.
func TestAttachRace(t *testing.T) {
	_, tap := cable(t, 1)
	open(t, tap, Config{Interface: "tap", Frames: 64})
	second := &Interface{promiscuous: -1}
	var err error
	tap.Do(func() { second.watch, _, err = openLinkWatch("tap") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	if second.program, err = loadProgram(tap.Link("tap").Attrs().Index, 1, Config{}, false, nil); err != nil {
		t.Fatal(err)
	}
	tap.Do(func() { err = second.attachProgram(Config{Interface: "tap"}) })
	var attached *ProgramAttachedError
	if !errors.As(err, &attached) || attached.ID == 0 {
		t.Errorf("got %v", err)
	}
}

func TestQueueBusy(t *testing.T) {
	_, tap := cable(t, 2)
	offsets, err := queryOffsets()
	if err != nil {
		t.Fatal(err)
	}
	l := &layout{offsets: offsets, frames: 64, completionFrames: completionFrames}
	var other *binding
	tap.Do(func() {
		other, err = bindQueue(t.Context(), tap.Link("tap").Attrs().Index, 1, smallFrame, l, unix.XDP_COPY)
	})
	if err != nil {
		t.Fatal(err)
	}
	mappings, descriptors := socketMappings(t), openDescriptors(t)
	soon, cancel := context.WithTimeout(t.Context(), busyPatience/20)
	defer cancel()
	tap.Do(func() { _, err = Open(soon, Config{Interface: "tap", Frames: 64}) })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("told to give up: %v", err)
	}
	if _, err := tryOpen(tap, Config{Interface: "tap", Frames: 64}); !errors.Is(err, ErrQueueBusy) || !strings.Contains(err.Error(), "queue 1") {
		t.Errorf("got %v", err)
	}
	if n := socketMappings(t); n != mappings {
		t.Errorf("%d mappings of sockets, %d before", n, mappings)
	}
	if n := openDescriptors(t); n > descriptors {
		t.Errorf("%d descriptors, %d before", n, descriptors)
	}
	if _, attached := attachedProgram(tap.Link("tap")); attached {
		t.Error("the program is still attached")
	}
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	open(t, tap, Config{Interface: "tap", Frames: 64}) // queue 0 was given back, and 1 is free
}

func TestMissingInterface(t *testing.T) {
	nettest.Require(t)
	_, err := tryOpen(nettest.NewHost(t), Config{Interface: "nowhere"})
	if !errors.Is(err, ErrInterfaceMissing) {
		t.Errorf("got %v", err)
	}
}

func TestConfiguration(t *testing.T) {
	for _, config := range []Config{
		{},
		{Interface: "a/b"},
		{Interface: "a-name-that-is-too-long"},
		{Interface: "tap", Frames: 63},
		{Interface: "tap", Frames: 32},
		{Interface: "tap", Frames: 1 << 20},
		{Interface: "tap", FrameSize: 1024},
		{Interface: "tap", Attach: 3},
	} {
		if _, err := Open(t.Context(), config); err == nil {
			t.Errorf("%+v was accepted", config)
		}
	}
	for mtu, want := range map[int]int{1500: 2048, 1770: 2048, 1771: 4096, 9000: 4096} {
		if got := FrameSizeFor(mtu); got != want {
			t.Errorf("MTU %d: frames of %d bytes, want %d", mtu, got, want)
		}
	}
	err := error(&PermissionError{Missing: []string{"CAP_BPF"}})
	if !errors.Is(err, ErrPermission) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v is not a permission error", err)
	}
}

func TestBindErrors(t *testing.T) {
	for errno, want := range map[unix.Errno]error{
		unix.EBUSY: ErrQueueBusy, unix.EPERM: ErrPermission, unix.ENOBUFS: ErrLockedMemory, unix.ENODEV: ErrInterfaceGone,
	} {
		if err := bindError(errors.New("syscall.Bind SockaddrXDP failed: " + errno.Error())); !errors.Is(err, want) {
			t.Errorf("%v: got %v", errno, err)
		}
	}
}

func TestInterfaceDeleted(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) {
			sender, tap := cable(t, 2)
			i := open(t, tap, Config{Interface: "tap", Attach: mode})
			wire := sender.Wire("wire")
			waiter := NewWaiter(i.Queues()...)
			wire.Send(numbered(1))
			if err := waiter.Wait(patience); err != nil {
				t.Fatal(err)
			}
			result := make(chan error, 1)
			go func() { // it waits while the interface goes
				views := make([]Packet, 8)
				for {
					for _, s := range i.Queues() {
						s.Receive(views)
						s.Release()
					}
					if err := waiter.Wait(-1); err != nil {
						result <- err
						return
					}
				}
			}()
			tap.Delete("tap")
			select {
			case err := <-result:
				if !errors.Is(err, ErrInterfaceGone) {
					t.Errorf("got %v", err)
				}
			case <-time.After(patience):
				t.Fatal("the reader waits for ever")
			}
			if l := i.Link(); !l.Gone || l.Up || l.Name != "tap" {
				t.Errorf("link %+v", l)
			}
			if s := sum(t, i); s.Received != 1 {
				t.Errorf("statistics %+v", s)
			}
			if err := i.Close(); err != nil {
				t.Errorf("close: %v", err)
			}

			// An interface of the same name is another one.
			nettest.Cable(sender, "wire", tap, "tap", 2)
			again := open(t, tap, Config{Interface: "tap", Attach: mode})
			sender.Wire("wire").Send(numbered(2))
			if got := collect(t, again, 1); got[2] != 1 {
				t.Errorf("received %v", got)
			}
		})
	}
}

// Moving an interface to another namespace is the same to us as deleting it.
func TestInterfaceMoved(t *testing.T) {
	_, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap"})
	tap.Move("tap", nettest.NewHost(t))
	waitForLink(t, i, "gone", func(l Link) bool { return l.Gone })
	if err := i.Queues()[0].Wait(patience); !errors.Is(err, ErrInterfaceGone) {
		t.Errorf("got %v", err)
	}
}

func TestDownAndUp(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) {
			sender, tap := cable(t, 2)
			tap.SetDown("tap")
			i := open(t, tap, Config{Interface: "tap", Attach: mode}) // down from the start
			if !slices.Contains(i.Notes(), "tap is down") {
				t.Errorf("notes %q", i.Notes())
			}
			for n := range 5 {
				tap.SetUp("tap")
				waitForLink(t, i, "up", func(l Link) bool { return l.Up })
				sender.Wire("wire").Send(numbered(n))
				if got := collect(t, i, 1); got[n] != 1 {
					t.Errorf("received %v", got)
				}
				tap.SetDown("tap")
				waitForLink(t, i, "down", func(l Link) bool { return !l.Up })
				if err := NewWaiter(i.Queues()...).Wait(time.Millisecond); err != nil {
					t.Errorf("wait while down: %v", err)
				}
			}
		})
	}
}

func TestChangesOfMTU(t *testing.T) {
	sender, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap"})
	wire := sender.Wire("wire")
	for n, mtu := range []int{1400, 3000, 1500} {
		sender.SetMTU("wire", mtu)
		tap.SetMTU("tap", mtu)
		waitForLink(t, i, "of the new MTU", func(l Link) bool { return l.MTU == mtu })
		wire.Send(numbered(n))
		if got := collect(t, i, 1); got[n] != 1 {
			t.Errorf("MTU %d: received %v", mtu, got)
		}
		complains := slices.ContainsFunc(i.Notes(), func(n string) bool { return strings.Contains(n, "MTU") })
		if complains != (mtu == 3000) {
			t.Errorf("MTU %d: notes %q", mtu, i.Notes())
		}
	}
}

func TestRenamed(t *testing.T) {
	sender, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap"})
	link := tap.Link("tap")
	var err error
	tap.Do(func() { err = netlink.LinkSetName(link, "renamed") })
	if err != nil {
		t.Fatal(err)
	}
	waitForLink(t, i, "renamed", func(l Link) bool { return l.Name == "renamed" })
	sender.Wire("wire").Send(numbered(1))
	if got := collect(t, i, 1); got[1] != 1 {
		t.Errorf("received %v", got)
	}
}

// A port that leaves a bridge is announced as a deletion, in the bridge's family.
func TestLeavingABridgeIsNotTheEnd(t *testing.T) {
	sender, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap", Attach: Native})
	port := tap.Link("tap")
	tap.Do(func() {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge"}}
		for _, step := range []error{
			netlink.LinkAdd(bridge), netlink.LinkSetMaster(port, bridge), netlink.LinkSetNoMaster(port),
			netlink.LinkSetMTU(port, 1400),
		} {
			if step != nil {
				t.Fatal(step)
			}
		}
	})
	waitForLink(t, i, "past it", func(l Link) bool { return l.MTU == 1400 || l.Gone })
	sender.Wire("wire").Send(numbered(1))
	if got := collect(t, i, 1); got[1] != 1 {
		t.Errorf("received %v", got)
	}
}

func TestQueueCount(t *testing.T) {
	sender, tap := cable(t, 4)
	tap.Run("ethtool", "-L", "tap", "rx", "2")
	sender.Run("ethtool", "-L", "wire", "tx", "2")
	tap.Run("ethtool", "-L", "tap", "rx", "2", "tx", "4")
	i := open(t, tap, Config{Interface: "tap", Frames: 64})
	if n := len(i.Queues()); n != 2 {
		t.Fatalf("%d queues, want 2", n)
	}
	tap.Run("ethtool", "-L", "tap", "rx", "4")
	waitForLink(t, i, "of four queues", func(l Link) bool { return l.Queues == 4 })
}

func TestInterrupt(t *testing.T) {
	_, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap", Frames: 64})
	s := i.Queues()[0]
	s.Interrupt() // before the wait
	if err := s.Wait(-1); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Wait(-1) }()
	s.Interrupt()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the reader was not woken")
	}
}

// Close ends a reader that waits, and waits for one that looks at packets.
func TestCloseUnderAReader(t *testing.T) {
	sender, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap", Frames: 64})
	s := i.Queues()[0]
	sender.Wire("wire").Send(numbered(5))
	views := make([]Packet, 4)
	n := 0
	await.Until(t, "given the packet", func() bool {
		n = s.Receive(views)
		return n > 0
	})
	if n != 1 {
		t.Fatalf("received %d", n)
	}
	closed := make(chan error, 1)
	go func() { closed <- i.Close() }()
	if err := s.Wait(-1); !errors.Is(err, ErrClosed) { // Close wakes it; the packets are still held
		// The wait may have been woken before it looked.
		if err = s.Wait(-1); !errors.Is(err, ErrClosed) {
			t.Errorf("wait: %v", err)
		}
	}
	if number(views[0].Data) != 5 {
		t.Error("the packet is gone")
	}
	select {
	case <-closed:
		t.Fatal("closed while the reader holds a packet")
	default:
	}
	s.Release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := s.Wait(-1); !errors.Is(err, ErrClosed) {
		t.Errorf("wait after close: %v", err)
	}
	if n := s.Receive(views); n != 0 {
		t.Errorf("received %d after close", n)
	}
	s.Release()
	s.Interrupt()
	if stats := sum(t, i); stats.Received != 1 {
		t.Errorf("statistics after close: %+v", stats)
	}
	if c := counters(t, i); c.Redirected != 1 {
		t.Errorf("counters after close: %+v", c)
	}
	if err := i.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// A child process must not inherit a socket, for it would hold the queue after we are gone.
func TestDescriptorsAreNotInherited(t *testing.T) {
	_, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap", Frames: 64, Promiscuous: true})
	s := i.Queues()[0]
	for _, fd := range []int{s.fd, s.wake, i.promiscuous} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d: flags %x, %v", fd, flags, err)
		}
	}
}

func TestNotes(t *testing.T) {
	_, tap := cable(t, 2)
	tap.Run("ethtool", "-L", "tap", "rx", "1") // fewer than the other end sends by: no native mode
	tap.Run("ethtool", "-K", "tap", "gro", "on")
	tap.SetMTU("tap", 3000)
	i := open(t, tap, Config{Interface: "tap", Frames: 64})
	if i.Mode() != Generic || i.ZeroCopy() || i.FrameSize() != largeFrame {
		t.Errorf("mode %v, zero-copy %v, frames of %d bytes", i.Mode(), i.ZeroCopy(), i.FrameSize())
	}
	tap.SetMTU("tap", 9000)
	waitForLink(t, i, "of a larger MTU", func(l Link) bool { return l.MTU == 9000 })
	all := strings.Join(i.Notes(), "\n")
	for _, want := range []string{"generic mode", "MTU of tap is 9000", "not promiscuous", "rxvlan off", "gro off"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in the notes:\n%s", want, all)
		}
	}
}
