package xsk

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The objects and their loader are committed, and the same on every machine: this compiler, no path of this machine. Both
// header directories are named because each architecture of Debian has its own and a missing one is ignored.
//
//go:generate go tool -modfile=../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel,bpfeb -type cause -type fate -type settings -type wait -type flow_key -type tally tap bpf/tap.c -- -mcpu=v3 -Wall -Wextra -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu

// Counters says what the XDP program did with the packets of the interface since it was opened: their sum is what it has
// seen, for each packet is in exactly one of them; CarriedBytes, and what says that the peer has taken something or not, are beside them.
type Counters struct {
	Redirected    uint64 `json:"redirected"`     // given to a socket of ours; see [Stats] for what became of it
	PassNotIP     uint64 `json:"pass_not_ip"`    // to the kernel: neither IPv4 nor IPv6
	PassPort      uint64 `json:"pass_port"`      // to the kernel: a pass port
	PassNeighbour uint64 `json:"pass_neighbour"` // to the kernel: IPv6 neighbour discovery, while there are pass ports
	PassNoSocket  uint64 `json:"pass_no_socket"` // to the kernel: nobody reads the queue, as while the interface is opened and closed
	PassType      uint64 `json:"pass_type"`      // to the kernel, in a bridge: a pass type
	Carried       uint64 `json:"carried"`        // of the flow table: to the peer in a bridge, ended in a tap
	CarriedBytes  uint64 `json:"carried_bytes"`  // in those
	// Of a bridge, of those that were carried: what the peer has taken, and what was lost, since it was down or took no frames of that
	// length, which is known some time later.
	CarriedSent    uint64 `json:"carried_sent"`
	CarriedNotSent uint64 `json:"carried_not_sent"`
	Unread
}

// Plus adds counters.
func (c Counters) Plus(other Counters) Counters {
	c.Redirected += other.Redirected
	c.PassNotIP += other.PassNotIP
	c.PassPort += other.PassPort
	c.PassNeighbour += other.PassNeighbour
	c.PassNoSocket += other.PassNoSocket
	c.PassType += other.PassType
	c.Carried += other.Carried
	c.CarriedBytes += other.CarriedBytes
	c.CarriedSent += other.CarriedSent
	c.CarriedNotSent += other.CarriedNotSent
	c.Unread = c.Unread.Plus(other.Unread)
	return c
}

// program is our XDP program, loaded, and on an interface from attach to detach.
type program struct {
	objects tapObjects
	link    link.Link
	index   int       // of the interface
	ids     [2]uint32 // of the kernel: this program's, and that of the former
	waiting waitTimes
	control control
	// pin is where the program, or another one on the same link, is pinned; nil: nowhere.
	pin *pin
	// former is another one, whose link this one takes over in commit; nil: it has its own.
	former   *pinned
	begun    bool         // commit was called
	base     unreadCounts // what was told before
	baseLost uint64       // and what the peer had not taken then
	lost     uint64       // of what was carried, how much the peer is known not to have taken
	// Of the former program, once it was taken over.
	tookOver  bool
	inherited Unread
}

// loadProgram loads the program for the interface with this index, with at most this many queues. several says that a packet may take
// several buffers: the program then looks at the first, where the headers are. It goes on with the settings and the counters of a
// former one, if there is one that it understands.
func loadProgram(index, queues int, config Config, several bool, former *pinned) (*program, error) {
	spec, err := loadTap()
	if err != nil {
		return nil, fmt.Errorf("read the XDP program: %w", err)
	}
	spec.Maps[tapMapSockets].MaxEntries = uint32(queues)
	spec.Maps[tapMapWaiting].MaxEntries = uint32(queues)
	if several {
		for _, one := range spec.Programs {
			one.Flags |= unix.BPF_F_XDP_HAS_FRAGS
		}
	}
	replaced := make(map[string]*ebpf.Map)
	if f := config.Flows; f != nil {
		sizeFlows(spec, len(f.records))
		replaced[tapMapRecords] = f.recordMap
	}
	if err := setVariables(spec, config, several); err != nil {
		return nil, err
	}
	goesOn := config.Bridge && former != nil && former.layout == controlLayout
	if goesOn {
		replaced[tapMapControl], replaced[tapMapUnread] = former.settings, former.unread
	}
	p := &program{index: index}
	if err := spec.LoadAndAssign(&p.objects, &ebpf.CollectionOptions{MapReplacements: replaced}); err != nil {
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil, fmt.Errorf("%w: load the XDP program: %w", ErrUnsupported, err)
		}
		return nil, fmt.Errorf("load the XDP program: %w", explain(err))
	}
	if config.Bridge {
		if err := p.mapMemory(former, goesOn); err != nil {
			return nil, errors.Join(err, p.close(), p.waiting.close())
		}
	}
	p.former = former
	info, err := p.objects.Tap.Info()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask for the id of the XDP program: %w", err), p.close(), p.waiting.close())
	}
	id, _ := info.ID()
	p.ids = [2]uint32{uint32(id), uint32(id)}
	if former != nil {
		p.ids[1] = former.program
	}
	return p, nil
}

// mapMemory maps what the program of a bridge shares with the daemon.
func (p *program) mapMemory(former *pinned, goesOn bool) (err error) {
	if p.control, err = mapControl(p.objects.Control); err != nil {
		return err
	}
	if p.waiting, err = mapWaitTimes(p.objects.Waiting); err != nil {
		return err
	}
	if goesOn {
		p.base, p.baseLost = p.control.told(), atomic.LoadUint64(&p.control.Lost)
		return nil
	}
	p.control.Magic, p.control.Layout = controlMagic, controlLayout
	if former != nil {
		p.control.Bypass = atomic.LoadUint32(&former.control.Bypass)
	}
	return nil
}

// setVariables sets what the program is to take.
func setVariables(spec *ebpf.CollectionSpec, config Config, several bool) error {
	var err error
	if len(config.PassPorts) > 0 {
		err = errors.Join(spec.Variables[tapVarHavePassPorts].Set(uint8(1)), spec.Variables[tapVarPassPorts].Set(bitmap(config.PassPorts)))
	}
	if config.Bridge {
		err = errors.Join(err, spec.Variables[tapVarBridge].Set(uint8(1)), spec.Variables[tapVarPassTypes].Set(bitmap(config.PassTypes)))
	}
	if several {
		err = errors.Join(err, spec.Variables[tapVarSeveral].Set(uint8(1)))
	}
	if f := config.Flows; f != nil {
		err = errors.Join(err, spec.Variables[tapVarOffload].Set(uint8(1)), spec.Variables[tapVarSlotBits].Set(f.slotBits),
			spec.Variables[tapVarHashKeys].Set(f.hashKeys))
	}
	if err != nil {
		return fmt.Errorf("set the variables of the XDP program: %w", err)
	}
	return nil
}

// bitmap returns a set of numbers as the program has it.
func bitmap(numbers []uint16) (set [1 << 16 / 64]uint64) {
	for _, n := range numbers {
		set[n/64] |= 1 << (n % 64)
	}
	return set
}

// attach puts the program on an interface, in native or generic mode. Another program there is left alone, and the error
// is then EBUSY or EEXIST.
func (p *program) attach(mode Mode) error {
	flags := link.XDPDriverMode
	if mode == Generic {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: p.objects.Tap, Interface: p.index, Flags: flags})
	if errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("%w: attach the XDP program: %w", ErrUnsupported, err)
	}
	if err != nil {
		return fmt.Errorf("attach the XDP program in %v mode: %w", mode, explain(err))
	}
	p.link = l
	return nil
}

// persist pins the program.
func (p *program) persist() error {
	return errors.Join(p.objects.Control.Pin(p.pin.file(pinControl)), p.objects.Unread.Pin(p.pin.file(pinUnread)), p.link.Pin(p.pin.file(pinLink)))
}

// commit makes the program that of the interface, if another one is there, with its settings as they are configured.
func (p *program) commit(config Config) error {
	if p.begun {
		return nil
	}
	jiffy, err := tick()
	if err != nil {
		return err
	}
	p.control.follow(config, jiffy)
	if p.former != nil {
		if err := p.takeOver(); err != nil {
			return fmt.Errorf("take the XDP program of a former run over: %w", explain(err))
		}
		p.begun, p.tookOver = true, true
		went, ok, err := p.unsettled()
		if err == nil && ok {
			waitForPrograms()
			err = p.settle(went)
		}
		if err == nil {
			p.inherited, err = p.unread()
		}
		return err
	}
	p.begun = true
	return nil
}

// takeOver puts the program in the place of the former, at once: each frame is for one of the two.
func (p *program) takeOver() error {
	err := p.former.link.Update(p.objects.Tap)
	if errors.Is(err, unix.ENOLINK) || errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: %w", ErrInterfaceGone, err)
	}
	if err != nil {
		return err
	}
	p.link, p.former.link = p.former.link, nil
	other := p.former.layout != controlLayout
	err = p.former.close()
	p.former = nil
	if other {
		for name, m := range map[string]*ebpf.Map{pinControl: p.objects.Control, pinUnread: p.objects.Unread} {
			if e := p.pin.unpin(name); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
			err = errors.Join(err, m.Pin(p.pin.file(name)))
		}
	}
	return err
}

// replace takes the former program off, so that this one can be attached in its place, after a moment without one. It
// keeps the directory, if this one is to be pinned there.
func (p *program) replace(queries *netlink.Handle, keep bool) error {
	err := p.former.detach(queries)
	err = errors.Join(err, p.former.close())
	p.former = nil
	if keep {
		return errors.Join(err, p.pin.clear())
	}
	err = errors.Join(err, p.pin.remove())
	p.pin = nil
	return err
}

// register gives a queue a socket: from now on its packets are redirected.
func (p *program) register(s *Socket) error {
	if err := p.objects.Sockets.Put(uint32(s.queue), uint32(s.fd)); err != nil {
		return fmt.Errorf("register the socket of queue %d: %w", s.queue, err)
	}
	return nil
}

// unregister takes the socket from a queue again.
func (p *program) unregister(s *Socket) error {
	err := p.objects.Sockets.Delete(uint32(s.queue))
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("unregister the socket of queue %d: %w", s.queue, err)
	}
	return nil
}

// destination is a value of a device map: an interface, and the program that sees what it takes.
type destination struct{ Interface, Program uint32 }

// setPeer makes frames that nobody reads leave by an interface, of the namespace of the calling thread; 0 = by none.
func (p *program) setPeer(index int) error {
	var err error
	if index == 0 {
		for _, m := range []*ebpf.Map{p.objects.Peer, p.objects.PeerOfFlows} {
			if e := m.Delete(uint32(0)); !errors.Is(e, ebpf.ErrKeyNotExist) {
				err = errors.Join(err, e)
			}
		}
	} else {
		err = errors.Join(
			p.objects.Peer.Put(uint32(0), destination{uint32(index), uint32(p.objects.PastLeaves.FD())}),
			p.objects.PeerOfFlows.Put(uint32(0), destination{uint32(index), uint32(p.objects.CarriedLeaves.FD())}))
	}
	if err != nil {
		return fmt.Errorf("set the peer of the XDP program: %w", err)
	}
	atomic.StoreUint32(&p.control.Peer, uint32(index))
	return nil
}

// carry says how long a frame may be that goes straight to the peer.
func (p *program) carry(longest int) error {
	if err := p.objects.Longest.Set(uint32(max(longest, 0))); err != nil {
		return fmt.Errorf("set a variable of the XDP program: %w", err)
	}
	return nil
}

// counters may be called until close.
func (p *program) counters() (Counters, error) {
	var c Counters
	var perCPU []uint64
	for _, counter := range []struct {
		cause tapCause
		total *uint64
	}{
		{tapCauseREDIRECTED, &c.Redirected},
		{tapCausePASS_NOT_IP, &c.PassNotIP},
		{tapCausePASS_PORT, &c.PassPort},
		{tapCausePASS_NEIGHBOUR, &c.PassNeighbour},
		{tapCausePASS_NO_SOCKET, &c.PassNoSocket},
		{tapCausePASS_TYPE, &c.PassType},
	} {
		if err := p.objects.Counters.Lookup(counter.cause, &perCPU); err != nil {
			return c, fmt.Errorf("read the counters of the XDP program: %w", err)
		}
		for _, n := range perCPU {
			*counter.total += n
		}
	}
	carried, err := p.carried()
	if err != nil {
		return c, err
	}
	c.Carried, c.CarriedBytes, c.CarriedSent, c.CarriedNotSent = carried.Packets, carried.Bytes, carried.Sent, p.lost
	if !p.begun {
		return c, nil // what goes past is the former program's
	}
	c.Unread, err = p.unread()
	return c, err
}

// carried adds up what was carried.
func (p *program) carried() (sum tapTally, err error) {
	var perCPU []tapTally
	if err := p.objects.Carried.Lookup(uint32(0), &perCPU); err != nil {
		return sum, fmt.Errorf("read the counters of the XDP program: %w", err)
	}
	for i := range perCPU {
		sum.Packets += perCPU[i].Packets
		sum.Bytes += perCPU[i].Bytes
		sum.Sent += perCPU[i].Sent
	}
	return sum, nil
}

// unread returns what went past or ended unread, and notes that it was told.
func (p *program) unread() (Unread, error) {
	now, err := readUnread(p.objects.Unread)
	if err != nil {
		return Unread{}, err
	}
	u := now.since(&p.base)
	u.PastNotSent = atomic.LoadUint64(&p.control.Lost) - p.baseLost
	p.control.tell(&now)
	return u, nil
}

// crossed are frames that went to the peer without a worker: past it, or as packets of flows.
type crossed struct{ past, carried uint64 }

// crossing returns how many frames went to the peer, and how many of them it has taken.
func (p *program) crossing() (went, taken crossed, err error) {
	now, err := readUnread(p.objects.Unread)
	if err != nil {
		return went, taken, err
	}
	carried, err := p.carried()
	return crossed{now.past(), carried.Packets}, crossed{now[tapFatePAST_SENT], carried.Sent}, err
}

// unsettled returns how many frames went to the peer, if some are neither known to be taken nor known to be lost.
func (p *program) unsettled() (went crossed, ok bool, err error) {
	if !p.begun {
		return crossed{}, false, nil
	}
	went, taken, err := p.crossing()
	known := crossed{taken.past + atomic.LoadUint64(&p.control.Lost), taken.carried + p.lost}
	return went, went != known, err
}

// settle counts as lost what went to the peer and was not taken, given how many went before [waitForPrograms]. What was taken of later frames
// hides as many, until it is called again.
func (p *program) settle(went crossed) error {
	_, taken, err := p.crossing()
	if err != nil {
		return err
	}
	p.lost = max(p.lost, went.carried-min(taken.carried, went.carried))
	atomic.StoreUint64(&p.control.Lost, max(atomic.LoadUint64(&p.control.Lost), went.past-min(taken.past, went.past)))
	return nil
}

// detach takes the program off the interface, at once. It is no error if the interface is gone.
func (p *program) detach() error {
	if p.link == nil {
		return nil
	}
	// Closing alone would do it some time later.
	err := errors.Join(p.link.Detach(), p.link.Close())
	p.link = nil
	if err != nil {
		return fmt.Errorf("detach the XDP program: %w", err)
	}
	return nil
}

// leave lets the program do without this process: on the interface, where it is pinned, or not at all.
func (p *program) leave(sockets []*Socket, gone bool, queries *netlink.Handle) error {
	switch {
	case p.former != nil:
		return nil // it is not on the interface
	case p.pin == nil:
		return p.detach()
	case gone || !p.begun:
		err := p.detach()
		if !gone {
			err = errors.Join(err, p.control.restore(p.index, queries))
		}
		err = errors.Join(err, p.pin.remove())
		p.pin = nil
		return err
	}
	var errs []error
	for _, s := range sockets {
		errs = append(errs, p.unregister(s))
	}
	return errors.Join(errs...)
}

// close closes what the process has of the program, but for the memory that readers use.
func (p *program) close() error {
	errs := []error{p.control.close(), p.objects.Close()}
	if p.former != nil {
		errs = append(errs, p.former.close())
	}
	if p.link != nil {
		errs = append(errs, p.link.Close())
	}
	if p.pin != nil {
		p.pin.unlock()
	}
	p.former, p.link, p.pin = nil, nil, nil
	return errors.Join(errs...)
}
