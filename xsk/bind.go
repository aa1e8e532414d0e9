package xsk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/asavie/xdp"
	"golang.org/x/sys/unix"
)

// asaviePackage serialises what is done with asavie/xdp, whose state it mirrors: bind flags are a package variable there.
// It also keeps one open or close from taking another's rings, in between, for leftovers.
var asaviePackage sync.Mutex

const (
	// busyPatience is how long a queue may stay busy, and the limit of locked memory be reached: the kernel lets go of a queue,
	// and of its buffers, which it counts per user, in a work queue some time after the last reference to the socket is gone.
	busyPatience = time.Second

	// completionFrames is the smallest completion ring worth having: a socket that sends nothing completes nothing, but
	// the kernel does not bind one without the ring.
	completionFrames = 64
)

// binding is a socket that asavie/xdp opened and bound to a queue.
type binding struct {
	socket *xdp.Socket
	inode  uint64
	layout *layout
	flags  uint16 // of bind(2)
}

// bindQueue binds a socket to one queue, which it waits for while it is busy, until ctx ends. flags are those of bind(2).
func bindQueue(ctx context.Context, index, queue, frameSize int, l *layout, flags uint16) (*binding, error) {
	deadline := time.Now().Add(busyPatience)
	for pause := time.Millisecond; ; pause *= 2 {
		b, err := tryBindQueue(index, queue, frameSize, l, flags)
		if !errors.Is(err, ErrQueueBusy) && !errors.Is(err, ErrLockedMemory) || time.Now().After(deadline) {
			return b, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

func tryBindQueue(index, queue, frameSize int, l *layout, flags uint16) (*binding, error) {
	asaviePackage.Lock()
	defer asaviePackage.Unlock()

	// The socket is made without close-on-exec. Until that is set, no child may be started: it would inherit the socket
	// and hold the queue when we are long gone.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()

	xdp.DefaultSocketFlags = flags
	socket, err := xdp.NewSocket(index, queue, &xdp.SocketOptions{
		NumFrames:              l.frames + l.transmitFrames,
		FrameSize:              frameSize,
		FillRingNumDescs:       l.frames,
		CompletionRingNumDescs: l.completionFrames,
		RxRingNumDescs:         l.frames,
		TxRingNumDescs:         l.transmitFrames,
	})
	if err != nil {
		return nil, errors.Join(bindError(err), unmapOrphans(l))
	}
	unix.CloseOnExec(socket.FD())

	b := &binding{socket: socket, layout: l, flags: flags}
	var stat unix.Stat_t
	if err := unix.Fstat(socket.FD(), &stat); err != nil {
		// Without the inode the mappings are found as those of a failed open are.
		return nil, errors.Join(fmt.Errorf("stat the socket: %w", err), socket.Close(), unmapOrphans(l))
	}
	b.inode = stat.Ino
	return b, nil
}

// close closes the socket and frees the queue. Mappings of the caller must be gone.
func (b *binding) close() error {
	asaviePackage.Lock()
	defer asaviePackage.Unlock()
	// In this order: a mapping holds the socket, so it is the last unmapping that makes the kernel let go.
	return errors.Join(b.socket.Close(), unmapSocket(b.inode, b.layout))
}

// umem returns all packet buffers of the socket.
func (b *binding) umem(frameSize int) []byte {
	return b.socket.GetFrame(xdp.Desc{Len: uint32((b.layout.frames + b.layout.transmitFrames) * frameSize)})
}

// bindError types an error of asavie/xdp, which keeps only the text of the system's error.
func bindError(err error) error {
	said := func(errno syscall.Errno) bool { return strings.HasSuffix(err.Error(), ": "+errno.Error()) }
	switch {
	case said(unix.EBUSY):
		return fmt.Errorf("%w: %w", ErrQueueBusy, err)
	case said(unix.EPERM), said(unix.EACCES):
		return &PermissionError{Err: err}
	case said(unix.ENOBUFS), said(unix.EAGAIN):
		return fmt.Errorf("%w: raise it (LimitMEMLOCK= of a systemd unit) or grant CAP_IPC_LOCK: %w", ErrLockedMemory, err)
	case said(unix.ENODEV), said(unix.ENXIO):
		return fmt.Errorf("%w: %w", ErrInterfaceGone, err)
	case said(unix.EPROTONOSUPPORT), said(unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}
