package xsk

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// The objects and their loader are committed, and the same on every machine: this compiler, no path of this machine. Both
// header directories are named because each architecture of Debian has its own and a missing one is ignored.
//
//go:generate go tool -modfile=../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel,bpfeb -type cause tap bpf/tap.c -- -mcpu=v3 -Wall -Wextra -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu

// Counters says what the XDP program did with the packets of the interface since it was opened: their sum is what it has
// seen, for each packet is in exactly one of them; CarriedBytes is beside them.
type Counters struct {
	Redirected    uint64 `json:"redirected"`     // given to a socket of ours; see [Stats] for what became of it
	PassNotIP     uint64 `json:"pass_not_ip"`    // to the kernel: neither IPv4 nor IPv6
	PassPort      uint64 `json:"pass_port"`      // to the kernel: a pass port
	PassNeighbour uint64 `json:"pass_neighbour"` // to the kernel: IPv6 neighbour discovery, while there are pass ports
	PassNoSocket  uint64 `json:"pass_no_socket"` // to the kernel: nobody reads the queue, as while the interface is opened and closed
	PassType      uint64 `json:"pass_type"`      // to the kernel, in a bridge: a pass type
	Carried       uint64 `json:"carried"`        // of the flow table: to the peer in a bridge, ended in a tap
	CarriedBytes  uint64 `json:"carried_bytes"`  // in those
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
	return c
}

// program is our XDP program, loaded, and on an interface from attach to detach.
type program struct {
	objects tapObjects
	link    link.Link
}

// loadProgram loads the program for an interface with at most this many queues. several says that a packet may take several buffers:
// the program then looks at the first, where the headers are.
func loadProgram(queues int, config Config, several bool) (*program, error) {
	spec, err := loadTap()
	if err != nil {
		return nil, fmt.Errorf("read the XDP program: %w", err)
	}
	spec.Maps[tapMapSockets].MaxEntries = uint32(queues)
	if several {
		spec.Programs["tap"].Flags |= unix.BPF_F_XDP_HAS_FRAGS
	}
	if err := setVariables(spec, config); err != nil {
		return nil, err
	}
	p := &program{}
	if err := spec.LoadAndAssign(&p.objects, nil); err != nil {
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil, fmt.Errorf("%w: load the XDP program: %w", ErrUnsupported, err)
		}
		return nil, fmt.Errorf("load the XDP program: %w", explain(err))
	}
	return p, nil
}

// setVariables sets what the program is to take.
func setVariables(spec *ebpf.CollectionSpec, config Config) error {
	var err error
	if len(config.PassPorts) > 0 {
		err = errors.Join(spec.Variables[tapVarHavePassPorts].Set(uint8(1)), spec.Variables[tapVarPassPorts].Set(bitmap(config.PassPorts)))
	}
	if config.Bridge {
		err = errors.Join(err, spec.Variables[tapVarBridge].Set(uint8(1)), spec.Variables[tapVarPassTypes].Set(bitmap(config.PassTypes)))
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
func (p *program) attach(index int, mode Mode) error {
	flags := link.XDPDriverMode
	if mode == Generic {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: p.objects.Tap, Interface: index, Flags: flags})
	if errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("%w: attach the XDP program: %w", ErrUnsupported, err)
	}
	if err != nil {
		return fmt.Errorf("attach the XDP program in %v mode: %w", mode, explain(err))
	}
	p.link = l
	return nil
}

// register gives a queue a socket: from now on its packets are redirected.
func (p *program) register(s *Socket) error {
	if err := p.objects.Sockets.Put(uint32(s.queue), uint32(s.fd)); err != nil {
		return fmt.Errorf("register the socket of queue %d: %w", s.queue, err)
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
		{tapCauseCARRIED, &c.Carried},
		{tapCauseCARRIED_BYTES, &c.CarriedBytes},
	} {
		if err := p.objects.Counters.Lookup(counter.cause, &perCPU); err != nil {
			return c, fmt.Errorf("read the counters of the XDP program: %w", err)
		}
		for _, n := range perCPU {
			*counter.total += n
		}
	}
	return c, nil
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

func (p *program) close() error {
	return errors.Join(p.detach(), p.objects.Close())
}
