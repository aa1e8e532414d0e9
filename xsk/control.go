package xsk

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// controlMagic begins what daemons, operators and the program of a bridge tell each other.
	controlMagic = 0x70697064
	// controlLayout is the layout of it, and of the map unread. It changes when a program of one of them and a daemon of the other
	// could not understand each other; what begins it never does.
	controlLayout = 2

	controlHeader   = 12
	tapSettingsSize = int(unsafe.Sizeof(tapSettings{}))
)

// control is the settings of a program of a bridge, in the memory of the map. Its fields are used with atomic operations, but for
// those that only the holder of the pin's lock uses.
type control struct {
	*tapSettings
	memory []byte
}

// mapControl maps the settings.
func mapControl(m *ebpf.Map) (control, error) {
	memory, err := mapMemory(m)
	if err != nil {
		return control{}, fmt.Errorf("map the settings of the XDP program: %w", err)
	}
	return control{(*tapSettings)(unsafe.Pointer(&memory[0])), memory}, nil
}

func (c *control) close() error {
	if c.memory == nil {
		return nil
	}
	memory := c.memory
	*c = control{}
	return unix.Munmap(memory)
}

// mapMemory maps the values of an array.
func mapMemory(m *ebpf.Map) ([]byte, error) {
	page := os.Getpagesize()
	length := (int(m.ValueSize())*int(m.MaxEntries()) + page - 1) / page * page
	return unix.Mmap(m.FD(), 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// follow makes the program do as configured while nobody reads.
func (c *control) follow(config Config, tick time.Duration) {
	atomic.StoreUint64(&c.Patience, uint64((config.OnFailureAfter+tick-1)/tick)+1) // the present one has begun
	var open uint32
	if config.OnFailure == FailOpen {
		open = 1
	}
	atomic.StoreUint32(&c.tapSettings.Open, open)
}

// keepPromiscuous makes an interface promiscuous until restore, for what goes past is addressed to other stations, too.
func (c *control) keepPromiscuous(found netlink.Link, queries *netlink.Handle) error {
	if found.Attrs().RawFlags&unix.IFF_PROMISC != 0 {
		return nil // somebody wants it so, or a former run has done it
	}
	if err := queries.SetPromiscOn(found); err != nil {
		return fmt.Errorf("set promiscuous mode: %w", err)
	}
	c.Promiscuous = 1
	return nil
}

// restore undoes keepPromiscuous.
func (c *control) restore(index int, queries *netlink.Handle) error {
	if c.Promiscuous == 0 {
		return nil
	}
	found, err := queries.LinkByIndex(index)
	if err == nil {
		err = queries.SetPromiscOff(found)
	}
	if err != nil && !notFound(err) {
		return fmt.Errorf("undo promiscuous mode: %w", err)
	}
	c.Promiscuous = 0
	return nil
}

// tick returns how long a jiffy is.
func tick() (time.Duration, error) {
	var resolution unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &resolution); err != nil {
		return 0, fmt.Errorf("read the length of a jiffy: %w", err)
	}
	if resolution.Nano() <= 0 {
		return 0, errors.New("the kernel does not say how long a jiffy is")
	}
	return time.Duration(resolution.Nano()), nil
}

// unreadCounts is the map unread, added up.
type unreadCounts [tapFateUNREADS]uint64

func readUnread(m *ebpf.Map) (total unreadCounts, err error) {
	var perCPU []uint64
	for fate := range total {
		if err := m.Lookup(uint32(fate), &perCPU); err != nil {
			return total, fmt.Errorf("read what nobody has read: %w", err)
		}
		for _, n := range perCPU {
			total[fate] += n
		}
	}
	return total, nil
}

// since returns what has come since the map held less.
func (u unreadCounts) since(before *unreadCounts) Unread {
	for i := range u {
		u[i] -= min(u[i], before[i])
	}
	return Unread{
		PastNoSocket: u[tapFatePAST_NO_SOCKET], PastStalled: u[tapFatePAST_STALLED], PastByHand: u[tapFatePAST_BY_HAND],
		PastSent: u[tapFatePAST_SENT], Dropped: u[tapFateUNREAD_DROPPED],
	}
}

// past returns how many frames went to the peer.
func (u *unreadCounts) past() uint64 {
	return u[tapFatePAST_NO_SOCKET] + u[tapFatePAST_STALLED] + u[tapFatePAST_BY_HAND]
}

// told returns what daemons have told of the map unread.
func (c *control) told() (told unreadCounts) {
	for i := range told {
		told[i] = atomic.LoadUint64(&c.Told[i])
	}
	return told
}

func (c *control) tell(told *unreadCounts) {
	for i := range told {
		atomic.StoreUint64(&c.Told[i], told[i])
	}
}

// Unread counts frames of a bridge that no daemon was given. Past are those that went to the peer: PastSent of them, and PastNotSent, which
// is known some time later.
type Unread struct {
	PastNoSocket uint64 `json:"past_no_socket"` // nobody read the queue
	PastStalled  uint64 `json:"past_stalled"`   // whoever reads the queue had not come for too long
	PastByHand   uint64 `json:"past_by_hand"`   // an operator has said so
	PastSent     uint64 `json:"past_sent"`      // of these three, taken by the peer
	PastNotSent  uint64 `json:"past_not_sent"`  // lost, since the peer was down, or took no frames of that length
	Dropped      uint64 `json:"unread_dropped"` // nobody read the queue, and nothing is to go past; or there was no peer
}

// Plus adds.
func (u Unread) Plus(other Unread) Unread {
	u.PastNoSocket += other.PastNoSocket
	u.PastStalled += other.PastStalled
	u.PastByHand += other.PastByHand
	u.PastSent += other.PastSent
	u.PastNotSent += other.PastNotSent
	u.Dropped += other.Dropped
	return u
}

// waitTimes is the map waiting: since when frames of each queue wait for their reader.
type waitTimes struct{ memory []byte }

func mapWaitTimes(m *ebpf.Map) (waitTimes, error) {
	memory, err := mapMemory(m)
	if err != nil {
		return waitTimes{}, fmt.Errorf("map the times that readers are waited for: %w", err)
	}
	return waitTimes{memory}, nil
}

// of returns that of a queue.
func (w *waitTimes) of(queue int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&w.memory[queue*int(unsafe.Sizeof(tapWait{}))]))
}

func (w *waitTimes) close() error {
	if w.memory == nil {
		return nil
	}
	memory := w.memory
	w.memory = nil
	return unix.Munmap(memory)
}
