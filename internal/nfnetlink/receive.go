package nfnetlink

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiver holds the memory that datagrams are received into.
type receiver struct {
	size    int
	buffer  []byte // of all datagrams
	headers []header
	vectors []unix.Iovec
	senders []unix.RawSockaddrNetlink
	lengths []int // of the datagrams of the last Receive
}

// header is struct mmsghdr of recvmmsg(2).
type header struct {
	unix.Msghdr
	length uint32
}

func newReceiver(datagrams, size int) receiver {
	r := receiver{
		size: size, buffer: make([]byte, datagrams*size), headers: make([]header, datagrams), vectors: make([]unix.Iovec, datagrams),
		senders: make([]unix.RawSockaddrNetlink, datagrams), lengths: make([]int, datagrams),
	}
	for i := range r.headers {
		r.vectors[i].Base = &r.buffer[i*size]
		r.vectors[i].SetLen(size)
		r.headers[i].Iov = &r.vectors[i]
		r.headers[i].SetIovlen(1)
		r.headers[i].Name = (*byte)(unsafe.Pointer(&r.senders[i]))
	}
	return r
}

// Receive takes as many datagrams as the socket was opened for, without waiting, and returns how many there are: 0 if there was
// nothing. Fewer than the socket was opened for say that nothing more was there. It returns [ErrOverrun] after the kernel dropped
// messages, and may be called again then; any other error is permanent.
func (s *Socket) Receive() (n int, err error) {
	if s.overrun {
		s.overrun = false
		return 0, ErrOverrun
	}
	return s.receive()
}

func (s *Socket) receive() (n int, err error) {
	clear(s.lengths)
	for i := range s.headers {
		s.headers[i].Namelen = unix.SizeofSockaddrNetlink
	}
	var taken uintptr
	for {
		var errno unix.Errno
		taken, _, errno = unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.headers[0])), uintptr(len(s.headers)),
			unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			break
		}
		switch errno {
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		case unix.ENOBUFS:
			return 0, ErrOverrun
		default:
			return 0, fmt.Errorf("receive from netlink: %w", os.NewSyscallError("recvmmsg", errno))
		}
	}
	for i := range int(taken) {
		h := &s.headers[i]
		if h.Flags&unix.MSG_TRUNC != 0 || h.Namelen != unix.SizeofSockaddrNetlink || s.senders[i].Pid != 0 {
			s.skipped.Add(1)
			continue
		}
		s.lengths[i] = int(h.length)
	}
	return int(taken), nil
}

// Datagram returns a datagram of the last Receive. It is valid until the next, and empty if it was too long or was not sent by the
// kernel: see [Socket.Skipped].
func (s *Socket) Datagram(i int) []byte {
	start := i * s.size
	return s.buffer[start : start+s.lengths[i] : start+s.lengths[i]]
}

// Skipped returns how many datagrams were longer than the socket's, or not sent by the kernel. Safe for concurrent use.
func (s *Socket) Skipped() uint64 { return s.skipped.Load() }
