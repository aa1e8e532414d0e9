package xsk

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/machine"
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
// already attached and its owner are not touched.
func Open(config Config) (_ *Interface, err error) {
	config, err = config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuration of AF_XDP: %w", err)
	}
	i := &Interface{config: config, promiscuous: -1}
	if err := i.open(config); err != nil {
		return nil, fmt.Errorf("open %s for AF_XDP: %w", config.Interface, errors.Join(err, i.Close()))
	}
	return i, nil
}

func (i *Interface) open(config Config) error {
	if err := checkCapabilities(); err != nil {
		return err
	}
	offsets, err := queryOffsets()
	if err != nil {
		return explain(err)
	}
	watch, found, err := openLinkWatch(config.Interface)
	if err != nil {
		return err
	}
	i.watch = watch
	index := found.Attrs().Index

	pin, former, err := i.findFormer(config, found)
	if err != nil {
		return err
	}
	// A driver may change its number of queues when a program is attached, within what the interface was made for.
	most := max(found.Attrs().NumRxQueues, watch.current().Queues)
	i.frameSize, i.several = config.BuffersFor(watch.current().MTU, MultiBuffer())
	if config.Flows != nil && !MayOffload() {
		return errors.Join(&PermissionError{Missing: []string{machine.Perfmon.String()}}, abandon(pin, former))
	}
	if i.program, err = loadProgram(index, most, config, i.several, former); err != nil {
		return errors.Join(err, abandon(pin, former))
	}
	i.program.pin = pin
	if former == nil {
		if err := i.attach(config, found); err != nil {
			return err
		}
	}

	if config.Promiscuous {
		if i.promiscuous, err = openPromiscuous(index); err != nil {
			return explain(err)
		}
	}
	if !watch.refresh() {
		return ErrInterfaceGone
	}
	link := watch.current()
	layout := layoutFor(offsets, config.Frames, config.Bridge)
	if err := i.openSockets(link, layout); err != nil {
		return err
	}
	// The queues are free: nobody reads the interface by the former program.
	if p := i.program; p.former != nil && (!config.Bridge || i.mode != i.formerMode(found)) {
		if err := p.replace(watch.queries, config.Bridge); err != nil {
			return err
		}
		// Whether it is promiscuous has changed with that.
		if found, err = watch.queries.LinkByIndex(index); notFound(err) {
			return ErrInterfaceGone
		} else if err != nil {
			return fmt.Errorf("look up %s: %w", config.Interface, err)
		}
		tried := i.mode
		if err := i.attach(config, found); err != nil {
			return err
		}
		if i.mode != tried { // for which the sockets are not
			if err := i.openSocketsAgain(link, layout); err != nil {
				return err
			}
		}
	}
	if err := i.registerAll(config); err != nil {
		return err
	}
	i.noteSettings(config, link)
	if !watch.refresh() { // to know of the program
		return ErrInterfaceGone
	}
	watch.start(i.goneNow) // last: from here on the watch is its goroutine's
	return nil
}

// findFormer looks for the program of a former run that is pinned for the interface. A bridge gets the directory for its own, nil if it
// cannot be pinned; a tap gets one if there is something to remove. What it finds is the caller's.
func (i *Interface) findFormer(config Config, found netlink.Link) (at *pin, former *pinned, err error) {
	at, err = findPin(config, found.Attrs().Index)
	switch {
	case errors.Is(err, ErrInUse):
		return nil, nil, err
	case err != nil && config.Bridge:
		i.note("when the process ends, its XDP program leaves with it, and nothing crosses: it cannot be pinned: %v", err)
	}
	if at != nil {
		if former, err = at.load(); err != nil {
			at.unlock()
			return nil, nil, err
		}
	}
	id, attached := attachedProgram(found)
	if attached && (former == nil || former.program != id) {
		err := &ProgramAttachedError{Interface: config.Interface, ID: id}
		return nil, nil, errors.Join(err, abandon(at, former))
	}
	if former != nil && former.layout > controlLayout {
		err := fmt.Errorf("%s %w: its layout is %d, and this version knows %d: take it off with `pipelined detach %s`",
			at.path, ErrForeignPin, former.layout, controlLayout, config.Interface)
		return nil, nil, errors.Join(err, abandon(at, former))
	}
	if at != nil && !attached { // then what is pinned was of an interface that had this index
		if former != nil {
			err = former.close()
			former = nil
		}
		if err = errors.Join(err, at.clear()); err != nil {
			at.unlock()
			return nil, nil, err
		}
	}
	if former == nil && at != nil && !config.Bridge {
		if err := at.remove(); err != nil {
			return nil, nil, err
		}
		at = nil
	}
	i.mode = i.formerMode(found)
	switch {
	case config.Attach != Auto:
		i.mode = config.Attach
	case former != nil && i.mode == Generic && hasNative(found.Attrs().Index):
		i.mode = Native // tried again: what the driver refused then may be mended
	}
	return at, former, nil
}

// findPin locks the directory of an interface, which it makes for a bridge. Without an error it may be nil for a tap.
func findPin(config Config, index int) (*pin, error) {
	if config.BPFFS == "" {
		return nil, nil //nolint:nilnil // nothing is to be pinned
	}
	name, err := pinName(index)
	if err != nil {
		return nil, err
	}
	if !config.Bridge {
		root, err := pinRoot(config.BPFFS)
		if err != nil {
			return nil, nil //nolint:nilerr,nilnil // nothing is pinned, as far as this process can know
		}
		at, err := lockPin(filepath.Join(root, name), false, busyPatience)
		if err != nil && !errors.Is(err, ErrInUse) {
			return nil, nil //nolint:nilerr,nilnil // the same
		}
		return at, err
	}
	root, err := makePinRoot(config.BPFFS)
	if err != nil {
		return nil, err
	}
	sweep(root)
	return lockPin(filepath.Join(root, name), true, busyPatience)
}

// abandon closes what findFormer has returned, and changes nothing but a directory in which nothing is pinned.
func abandon(at *pin, former *pinned) error {
	switch {
	case former != nil:
		at.unlock()
		return former.close()
	case at != nil:
		return at.remove()
	}
	return nil
}

// formerMode returns the mode of the program that is on the interface.
func (i *Interface) formerMode(found netlink.Link) Mode {
	if x := found.Attrs().Xdp; x != nil && x.AttachMode == nl.XDP_ATTACHED_SKB {
		return Generic
	}
	return Native
}

// attach attaches the program in the mode of the configuration, and pins that of a bridge, if it can be. Until there are sockets, every
// packet of a tap passes.
func (i *Interface) attach(config Config, found netlink.Link) error {
	if err := i.attachProgram(config); err != nil {
		return err
	}
	p := i.program
	if !config.Bridge || p.pin == nil {
		return nil
	}
	if err := p.persist(); err != nil {
		i.note("when the process ends, its XDP program leaves with it, and nothing crosses: it cannot be pinned: %v", explainPin(p.pin.path, err))
		err = p.pin.remove()
		p.pin = nil
		return err
	}
	return p.control.keepPromiscuous(found, i.watch.queries)
}

func (i *Interface) attachProgram(config Config) error {
	index := i.watch.current().Index
	i.mode = config.Attach
	if config.Attach == Auto {
		i.mode = Native
	}
	err := i.program.attach(i.mode)
	if err != nil && config.Attach == Auto && worthFallingBack(err) {
		i.mode = Generic
		i.note("generic mode, which is slow: the driver refused native mode: %v", err)
		err = i.program.attach(i.mode)
	}
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
		e := &ProgramAttachedError{Interface: config.Interface}
		if now, lookErr := i.watch.queries.LinkByIndex(index); lookErr == nil {
			e.ID, _ = attachedProgram(now)
		}
		return e
	}
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: %w", ErrInterfaceGone, err)
	}
	if err != nil && config.Attach == Native && i.several && worthFallingBack(err) {
		return fmt.Errorf("%w (its driver may not take an MTU of %d in native mode: attach in mode auto or generic, or set an MTU of %d)",
			err, i.watch.current().MTU, MaxMTU(i.frameSize))
	}
	return err
}

// worthFallingBack reports whether an error is the driver's opinion of native mode, and not about the interface, the
// caller or the kernel.
func worthFallingBack(err error) bool {
	for _, other := range []error{unix.EBUSY, unix.EEXIST, unix.ENODEV, ErrPermission, ErrUnsupported} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// openSockets opens one socket per queue.
func (i *Interface) openSockets(link Link, l *layout) error {
	flags := uint16(unix.XDP_USE_NEED_WAKEUP)
	if i.mode == Generic {
		flags |= unix.XDP_COPY // the driver would fill buffers that no program hands over
	}
	if i.several {
		flags |= unix.XDP_USE_SG
	}
	for queue := range link.Queues {
		s, err := openSocket(link.Index, queue, i.frameSize, l, flags, &i.shared, i.watch)
		if err != nil {
			return err
		}
		i.sockets = append(i.sockets, s)
	}
	return nil
}

// openSocketsAgain opens them for another mode.
func (i *Interface) openSocketsAgain(link Link, l *layout) error {
	var errs []error
	for _, s := range i.sockets {
		errs = append(errs, s.close())
	}
	i.sockets = nil
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return i.openSockets(link, l)
}

// registerAll gives the queues of a tap their sockets. A bridge does it one by one, in Serve.
func (i *Interface) registerAll(config Config) error {
	if config.Bridge {
		for _, s := range i.sockets {
			s.waiting = i.program.waiting.of(s.queue)
		}
		return nil
	}
	for _, s := range i.sockets {
		if err := i.program.register(s); err != nil {
			return err
		}
	}
	return nil
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

// noteSettings tells of settings of the interface that spoil what is seen.
func (i *Interface) noteSettings(config Config, link Link) {
	if i.mode == Native && !i.ZeroCopy() {
		i.note("copy mode: the driver has no zero-copy AF_XDP")
	}
	features, err := i.watch.ethtool.features(link.Name)
	if err != nil {
		i.note("offloads are unknown: %v", err)
	}
	for _, offload := range harmfulOffloads(features, i.mode, config.Bridge) {
		i.note("%s is on: %s; turn it off with: ethtool -K %s %s off",
			offload.Feature, offload.Effect, link.Name, offload.Short)
	}
	if !config.Promiscuous {
		i.note("not promiscuous: only packets to the interface's own address are seen, unless something else made it so")
	}
}

// Offload is a setting of an interface that spoils what a tap sees, or a bridge sends on.
type Offload struct {
	Feature, Short string // its names, of the kernel and of ethtool -K
	Effect         string
}

// harmfulOffloads returns the offloads among the features that are on that do harm in a mode, to a
// bridge or to a tap.
func harmfulOffloads(on map[string]bool, mode Mode, bridge bool) (list []Offload) {
	const merged = "packets arrive merged, and what is then too long is dropped"
	stripped := "the driver may strip VLAN tags, and the VLAN is then unknown"
	if bridge {
		stripped = "the driver may strip VLAN tags, and packets then leave the bridge without them"
	}
	for _, offload := range []Offload{
		{"rx-vlan-hw-parse", "rxvlan", stripped},
		{"rx-gro", "gro", merged},
		{"rx-gro-hw", "rx-gro-hw", merged},
		{"rx-lro", "lro", merged},
	} {
		afterUs := offload.Feature == "rx-gro" && mode == Native
		if on[offload.Feature] && !afterUs {
			list = append(list, offload)
		}
	}
	return list
}

func (i *Interface) note(format string, args ...any) {
	i.notes = append(i.notes, fmt.Sprintf(format, args...))
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

// Notes returns what the operator should hear: why the interface is slower, or sees less, than it could. One sentence each.
func (i *Interface) Notes() []string {
	notes := slices.Clone(i.notes)
	i.mu.Lock()
	if i.peerNote != "" {
		notes = append(notes, i.peerNote)
	}
	i.mu.Unlock()
	link := i.Link()
	if link.MTU+linkOverhead > i.MaxPacket() {
		notes = append(notes, fmt.Sprintf("packets over %d bytes are dropped, and the MTU of %s is %d",
			i.MaxPacket(), link.Name, link.MTU))
	}
	if !link.Up && !link.Gone {
		notes = append(notes, link.Name+" is down")
	}
	return notes
}

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

// Settle finds out what the peer of a bridge has not taken of frames that went to it without a worker: [Counters.CarriedNotSent] and
// [Unread.PastNotSent]. If there may be any, it waits some milliseconds.
func (i *Interface) Settle() error {
	i.mu.Lock()
	var went crossed
	var unsettled bool
	var err error
	if i.program != nil && i.config.Bridge {
		went, unsettled, err = i.program.unsettled()
	}
	i.mu.Unlock()
	if err != nil || !unsettled {
		return err
	}
	waitForPrograms()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.program == nil {
		return nil
	}
	return i.program.settle(went)
}

// Close gives the interface back to the kernel: it takes the program off (that of a bridge that is pinned stays, and does as
// [Config.OnFailure] says), then waits for every reader to Release what it
// holds, then closes the sockets. A reader that waits is woken; every later Wait returns [ErrClosed]. The packets that
// are still in the rings are lost to the reader. Closing twice returns the same error twice.
func (i *Interface) Close() error {
	i.closing.Do(func() { i.closeErr = i.close() })
	return i.closeErr
}

func (i *Interface) close() error {
	var errs []error
	var waiting waitTimes
	// The program first: packets on their way to a socket that is being closed have crashed kernels. It takes a while,
	// for which Counters does not have to wait.
	if i.program != nil {
		waiting = i.program.waiting
		ending := Ending{Read: i.program.begun, Bypassed: i.Bypassed()}
		detached := i.Detached()
		i.mu.Lock()
		i.leaving = true
		i.mu.Unlock()
		errs = append(errs, i.program.leave(i.sockets, i.watch.current().Gone, i.watch.queries), i.Settle())
		ending.Stays = ending.Read && i.program.pin != nil && !detached
		i.mu.Lock()
		i.ending = ending
		final, err := i.program.counters()
		errs = append(errs, err, i.program.close())
		i.finalCounters, i.program = final, nil
		i.mu.Unlock()
	}

	i.shared.closing.Store(true)
	for _, s := range i.sockets {
		s.Interrupt() // all of them, before the wait for any
	}
	for _, s := range i.sockets {
		errs = append(errs, s.close())
	}
	errs = append(errs, waiting.close())
	if i.promiscuous >= 0 {
		errs = append(errs, unix.Close(i.promiscuous))
	}
	if i.watch != nil {
		errs = append(errs, i.watch.close())
	}
	return errors.Join(errs...)
}

// Ending is what the end of an open interface has left.
type Ending struct {
	Read     bool // somebody has read it
	Stays    bool // its own program is on it still, and does as [Config.OnFailure] says
	Bypassed bool // an operator had said that every frame is to go past, which holds on
}

// Ending returns what Close has left. It is called after Close.
func (i *Interface) Ending() Ending {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ending
}

// goneNow wakes the readers when the interface has gone.
func (i *Interface) goneNow() {
	i.shared.gone.Store(true)
	for _, s := range i.sockets {
		s.Interrupt()
	}
}

// attachedProgram returns the XDP program of an interface.
func attachedProgram(link netlink.Link) (id uint32, attached bool) {
	x := link.Attrs().Xdp
	if x == nil || !x.Attached {
		return 0, false
	}
	return x.ProgId, true
}
