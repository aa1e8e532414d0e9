package nettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Flood describes a stream of packets that the kernel itself generates, some millions a second from one thread: an XDP
// program, run on live frames, rewrites a few bytes of a template and redirects it into an interface.
//
// The other end of the cable must have a native XDP program, or the veth driver takes nothing: see [Host.AcceptFlood]. What a
// full queue at the other end refuses is lost without a trace here: only the receiver's counters tell.
type Flood struct {
	Device string // interface of the sending host
	// Frame is the template, 50 to 3,000 bytes; default [UDP] with 18 bytes of payload. Its bytes 34 and 35 (the source
	// port behind an IPv4 header without options) and 42 to 49 (the first 8 bytes of a UDP payload) are overwritten:
	// with the number of the flow, and with the number of the packet, from 0, little endian.
	Frame []byte
	// KeepPayload leaves bytes 42 to 49 as they are: they belong to the header, if the template is TCP.
	KeepPayload bool
	Flows       int           // source ports used in turn, a power of two up to 65,536; default 1
	Count       uint64        // packets, or some more if a signal disturbs the kernel; default 1<<20
	For         time.Duration // at most; default 10 s
}

const (
	// floodChunk is how many packets one system call makes: about 0.1 s, so that a cancelled context is soon noticed,
	// while the grace period for which the kernel waits at the end of each call, some 10 ms, does not set the rate.
	floodChunk = 1 << 18

	sourcePortOffset = 34
	sequenceOffset   = 42
	minFloodFrame    = sequenceOffset + 8
	maxFloodFrame    = 3000

	liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
)

// Flood sends until the count, the time or ctx ends it, and returns how many packets were generated. It blocks, and may
// be called from any goroutine.
func (h *Host) Flood(ctx context.Context, f Flood) (sent uint64, err error) {
	f, err = f.withDefaults()
	if err != nil {
		return 0, err
	}
	leave, err := enter(h.ns)
	if err != nil {
		return 0, fmt.Errorf("enter the namespace: %w", err)
	}
	defer leave()
	device, err := net.InterfaceByName(f.Device)
	if err != nil {
		return 0, fmt.Errorf("flood %s: %w", f.Device, err)
	}

	counter, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return 0, fmt.Errorf("make the packet counter: %w", err)
	}
	defer func() { _ = counter.Close() }() // nothing of it is needed any more
	program, err := ebpf.NewProgram(floodProgram(counter, device.Index, f.Flows, f.KeepPayload))
	if err != nil {
		return 0, fmt.Errorf("load the generator: %w", err)
	}
	defer func() { _ = program.Close() }()

	deadline := time.Now().Add(f.For)
	for sent < f.Count && ctx.Err() == nil && time.Now().Before(deadline) {
		chunk := uint32(min(f.Count-sent, floodChunk))
		_, err := program.Run(&ebpf.RunOptions{Data: f.Frame, Repeat: chunk, Flags: liveFrames})
		if err != nil {
			return sent, fmt.Errorf("run the generator: %w", err)
		}
		// Not sent += floodChunk: a run that a signal interrupts is repeated from its start.
		if err := counter.Lookup(uint32(0), &sent); err != nil {
			return sent, fmt.Errorf("read the packet counter: %w", err)
		}
	}
	return sent, nil
}

// AcceptFlood makes the kernel take the packets of a flood on an interface and treat them like others. It lasts until the end
// of the test.
func (h *Host) AcceptFlood(name string) {
	h.t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "pass", Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
		Flags: unix.BPF_F_XDP_HAS_FRAGS, // whatever the MTU
	})
	h.must("load a program", err)
	h.t.Cleanup(func() { _ = program.Close() })
	device := h.Link(name)
	var attached link.Link
	h.Do(func() {
		attached, err = link.AttachXDP(link.XDPOptions{Program: program, Interface: device.Attrs().Index, Flags: link.XDPDriverMode})
	})
	h.must("attach a program to "+name, err)
	h.t.Cleanup(func() { _ = attached.Close() })
}

func (f Flood) withDefaults() (Flood, error) {
	if f.Frame == nil {
		f.Frame = UDP{}.Frame(make([]byte, 18))
	}
	if f.Flows == 0 {
		f.Flows = 1
	}
	if f.Count == 0 {
		f.Count = 1 << 20
	}
	if f.For == 0 {
		f.For = 10 * time.Second
	}
	if n := len(f.Frame); n < minFloodFrame || n > maxFloodFrame {
		return f, fmt.Errorf("a frame of %d bytes: want %d to %d", n, minFloodFrame, maxFloodFrame)
	}
	if f.Flows < 0 || f.Flows > 1<<16 || f.Flows&(f.Flows-1) != 0 {
		return f, errors.New("the number of flows is not a power of two up to 65,536")
	}
	return f, nil
}

// floodProgram numbers the packet, writes number and flow into it and sends it to the interface with this index.
func floodProgram(counter *ebpf.Map, index, flows int, keepPayload bool) *ebpf.ProgramSpec {
	const (
		data   = asm.R2
		end    = asm.R3
		limit  = asm.R4
		number = asm.R5
		state  = asm.R6
	)
	numbered := asm.StoreMem(data, sequenceOffset, number, asm.DWord)
	if keepPayload {
		numbered = asm.Mov.Reg(number, number)
	}
	return &ebpf.ProgramSpec{
		Name: "flood",
		Type: ebpf.XDP,
		Instructions: asm.Instructions{
			asm.LoadMem(data, asm.R1, 0, asm.Word), // xdp_md.data
			asm.LoadMem(end, asm.R1, 4, asm.Word),  // xdp_md.data_end
			asm.Mov.Reg(limit, data),
			asm.Add.Imm(limit, minFloodFrame),
			asm.JGT.Reg(limit, end, "drop"),

			asm.LoadMapValue(state, counter.FD(), 0),
			asm.LoadMem(number, state, 0, asm.DWord),
			numbered,
			asm.Mov.Reg(asm.R7, number),
			asm.And.Imm(asm.R7, int32(flows-1)),
			asm.HostTo(asm.BE, asm.R7, asm.Half),
			asm.StoreMem(data, sourcePortOffset, asm.R7, asm.Half),
			asm.Add.Imm(number, 1),
			asm.StoreMem(state, 0, number, asm.DWord), // one thread runs the program: no atomic is needed

			asm.Mov.Imm(asm.R1, int32(index)),
			asm.Mov.Imm(asm.R2, 0),
			asm.FnRedirect.Call(),
			asm.Return(),

			asm.Mov.Imm(asm.R0, 1).WithSymbol("drop"), // XDP_DROP
			asm.Return(),
		},
	}
}
