package xsk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Interface is an open network interface: one socket on each of its receive queues. Its methods may be called by any
// goroutine.
type Interface struct {
	config    Config
	mode      Mode
	frameSize int
	several   bool // a packet may take several buffers
	notes     []string
	sockets   []*Socket
	watch     *linkWatch
	shared    shared

	mu            sync.Mutex
	program       *program // nil when closed
	leaving       bool     // what is attached and pinned is for close alone
	finalCounters Counters // when closed
	ending        Ending   // when closed
	peerNote      string   // what stands in the way of frames to the peer
	promiscuous   int      // packet socket, or -1

	closing  sync.Once
	closeErr error
}

// Open opens all receive queues of an interface, or none. From then on the interface's packets, of a tap only those of IPv4 and
// IPv6, belong to the caller: see the package comment.
//
// It works on the network namespace of the calling thread, and what it opens stays there. An interface that is down is
// opened; its packets come when it is up. The errors of this package say why an interface is refused; a program that is
// already attached and its owner are not touched. When ctx ends before all queues are open, it closes those that are, and returns the
// error of ctx.
func Open(ctx context.Context, config Config) (_ *Interface, err error) {
	config, err = config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuration of AF_XDP: %w", err)
	}
	i := &Interface{config: config, promiscuous: -1}
	if err := i.open(ctx, config); err != nil {
		return nil, fmt.Errorf("open %s for AF_XDP: %w", config.Interface, errors.Join(err, i.Close()))
	}
	return i, nil
}

// Serve begins to hand the frames of a queue to its socket. Its reader calls it, before it receives first. In a tap, Open has done
// it. In a bridge, what comes before is dropped, or goes past: [Config.OnFailure].
func (i *Interface) Serve(s *Socket) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.program == nil || i.leaving {
		return ErrClosed
	}
	if !i.config.Bridge {
		return nil
	}
	if err := i.program.commit(i.config); err != nil {
		return err
	}
	return i.program.register(s)
}

// SetPeer says by which interface, of the namespace of the calling thread, frames of a bridge leave that go past; 0 = by none.
func (i *Interface) SetPeer(index int) error {
	note := ""
	if index != 0 && !i.reaches(index) {
		note = "frames that nobody reads cannot leave: the driver of the peer takes nothing that XDP redirects. " +
			`With attach = "generic" they can; a veth takes it while its other end has XDP or GRO on`
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.program == nil {
		return ErrClosed
	}
	i.peerNote = note
	return i.program.setPeer(index)
}

// TakenOver reports whether the program of a former run was there, and what it counted after that run had told what it knew.
func (i *Interface) TakenOver() (unread Unread, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.program == nil {
		return Unread{}, false
	}
	return i.program.inherited, i.program.tookOver
}

// Bypassed reports whether an operator has said that every frame is to go past: see [Attachment.SetBypass].
func (i *Interface) Bypassed() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.program != nil && i.config.Bridge && atomic.LoadUint32(&i.program.control.Bypass) != 0
}

// Detached reports whether somebody has taken the program off, or put another one in its place. It is known about a second later.
func (i *Interface) Detached() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	link := i.watch.current()
	return i.program != nil && !i.leaving && !link.Gone && !slices.Contains(i.program.ids[:], link.program)
}

// Pinned returns the directory in which the program of a bridge is pinned; "" if it is not.
func (i *Interface) Pinned() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.program == nil || i.leaving || i.program.pin == nil {
		return ""
	}
	return i.program.pin.path
}

// Queues returns the sockets, by queue number. There is one for every receive queue that the interface had when it was
// opened; see [Link.Queues] for how many it has now.
func (i *Interface) Queues() []*Socket { return slices.Clone(i.sockets) }

// Mode returns [Native] or [Generic].
func (i *Interface) Mode() Mode { return i.mode }

// ZeroCopy reports whether the driver writes into the buffers of every queue without a copy by the kernel.
func (i *Interface) ZeroCopy() bool {
	for _, s := range i.sockets {
		if !s.zeroCopy {
			return false
		}
	}
	return len(i.sockets) > 0
}

// FrameSize returns the size of one packet buffer in bytes.
func (i *Interface) FrameSize() int { return i.frameSize }

// Several reports whether a packet may take several buffers.
func (i *Interface) Several() bool { return i.several }

// MaxPacket returns the length of the longest packet that can be received, in bytes from the Ethernet header on.
func (i *Interface) MaxPacket() int {
	if i.several {
		return maxLength
	}
	return i.frameSize - headroom
}

// Link returns the present state of the interface, about a second old at most.
func (i *Interface) Link() Link { return i.watch.current() }

// Changed returns a channel that has a value after [Interface.Link] has changed. It is for one goroutine, and is never
// closed.
func (i *Interface) Changed() <-chan struct{} { return i.watch.changes }

// Carry says what is known about the interface of [Interface.SetPeer], in the namespace of the calling thread: whether frames of flows can
// go straight to it, and how long they may be. Until it is called, and while the interface is down, all frames come up.
func (i *Interface) Carry(peer Link) error {
	longest := 0
	if peer.Up && !peer.Gone && i.reaches(peer.Index) {
		longest = peer.MTU + 14 + 4 // an Ethernet header and a tag: more is not redirected
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.program == nil {
		return ErrClosed
	}
	return i.program.carry(longest)
}

// reaches reports whether the driver of another interface takes what the program redirects, as far as the kernel tells.
func (i *Interface) reaches(index int) bool {
	if i.mode != Native {
		return true
	}
	features, err := xdpFeatures(index)
	return err != nil || features&xdpTransmit != 0
}

// Counters returns what the program did with the packets of the interface; after Close, the last.
func (i *Interface) Counters() (Counters, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.program == nil {
		return i.finalCounters, nil
	}
	return i.program.counters()
}
