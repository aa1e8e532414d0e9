package routes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bufferSize has room for what the kernel puts into one datagram of a dump, 32 KiB.
	bufferSize = 64 << 10
	// backlog is the size in bytes of the socket's buffer for changes. What does not fit is read with everything else.
	backlog = 4 << 20
	// patience is how long an answer of the kernel may take.
	patience = 10 * time.Second
)

// socket is an rtnetlink socket. It stays in the network namespace that it was opened in. It is used by one goroutine, but for close.
type socket struct {
	file   *os.File
	raw    syscall.RawConn
	buffer []byte
	seq    uint32
}

// openSocket opens a socket that gets messages of these groups.
func openSocket(groups uint32) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	file := os.NewFile(uintptr(fd), "rtnetlink")
	if groups != 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, backlog) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, backlog) // as much as the kernel grants
	}
	// With it, a dump has only what is asked for. Kernels before 4.20 do not have it, and give more.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to changes of routes and interfaces: %w", err), file.Close())
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &socket{file: file, raw: raw, buffer: make([]byte, bufferSize)}, nil
}

// close ends a receive that waits.
func (s *socket) close() error { return s.file.Close() }

// receive waits for a datagram of the kernel until a deadline, zero for none. The datagram is valid until the next call.
func (s *socket) receive(deadline time.Time) ([]byte, error) {
	if err := s.file.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	for {
		var n int
		var from unix.Sockaddr
		var err error
		waitErr := s.raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), s.buffer, unix.MSG_TRUNC)
			return !errors.Is(err, unix.EAGAIN)
		})
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if waitErr != nil {
			return nil, waitErr
		}
		if err != nil {
			return nil, err
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue // another process
		}
		if n > len(s.buffer) {
			return nil, fmt.Errorf("a datagram of %d bytes", n)
		}
		return s.buffer[:n], nil
	}
}

// dump asks for everything of a kind and calls yield with each message. complete is false if things changed meanwhile, so that
// something may be missing.
func (s *socket) dump(kind uint16, request []byte, yield func(message)) (complete bool, err error) {
	s.seq++
	length := unix.SizeofNlMsghdr + len(request)
	b := make([]byte, unix.SizeofNlMsghdr, length)
	binary.NativeEndian.PutUint32(b, uint32(length))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(b[8:], s.seq)
	if _, err := s.file.Write(append(b, request...)); err != nil {
		return false, err
	}
	complete = true
	for {
		datagram, err := s.receive(time.Now().Add(patience))
		if err != nil {
			return false, err
		}
		for {
			m, rest, ok := nextMessage(datagram)
			if !ok {
				break
			}
			datagram = rest
			if m.seq != s.seq {
				continue // of a dump that was given up
			}
			if m.flags&unix.NLM_F_DUMP_INTR != 0 {
				complete = false
			}
			switch m.kind {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if code := int32(number(m.body)); code < 0 {
					return false, unix.Errno(-code)
				}
				return complete, nil
			default:
				yield(m)
			}
		}
	}
}

// attribute appends an attribute that is a number of 32 bits.
func attribute(b []byte, kind uint16, value uint32) []byte {
	b = binary.NativeEndian.AppendUint16(b, unix.SizeofRtAttr+4)
	b = binary.NativeEndian.AppendUint16(b, kind)
	return binary.NativeEndian.AppendUint32(b, value)
}
