package xsk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/machine"
)

func (i *Interface) open(ctx context.Context, config Config) error {
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
	if err := i.openSockets(ctx, link, layout); err != nil {
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
			if err := i.openSocketsAgain(ctx, link, layout); err != nil {
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
func (i *Interface) openSockets(ctx context.Context, link Link, l *layout) error {
	flags := uint16(unix.XDP_USE_NEED_WAKEUP)
	if i.mode == Generic {
		flags |= unix.XDP_COPY // the driver would fill buffers that no program hands over
	}
	if i.several {
		flags |= unix.XDP_USE_SG
	}
	for queue := range link.Queues {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := openSocket(ctx, link.Index, queue, i.frameSize, l, flags, &i.shared, i.watch)
		if err != nil {
			return err
		}
		i.sockets = append(i.sockets, s)
	}
	return nil
}

// openSocketsAgain opens them for another mode.
func (i *Interface) openSocketsAgain(ctx context.Context, link Link, l *layout) error {
	var errs []error
	for _, s := range i.sockets {
		errs = append(errs, s.close())
	}
	i.sockets = nil
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return i.openSockets(ctx, link, l)
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

// attachedProgram returns the XDP program of an interface.
func attachedProgram(link netlink.Link) (id uint32, attached bool) {
	x := link.Attrs().Xdp
	if x == nil || !x.Attached {
		return 0, false
	}
	return x.ProgId, true
}
