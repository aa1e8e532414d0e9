package nfnetlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoAnswer is returned by [Socket.Execute] if the kernel did not answer in time.
var ErrNoAnswer = errors.New("the kernel does not answer a netlink request")

// NextSeq returns a sequence number that no request of this socket has had.
func (s *Socket) NextSeq() uint32 {
	s.seq++
	return s.seq
}

// Send hands requests to the kernel, which carries them out before Send returns: their answers can be received then.
func (s *Socket) Send(b []byte) error {
	for {
		_, err := unix.Write(s.fd, b) // a netlink socket that is not connected sends to the kernel
		if !errors.Is(err, unix.EINTR) {
			if err != nil {
				return fmt.Errorf("send to netlink: %w", refusal(os.NewSyscallError("write", err)))
			}
			return nil
		}
	}
}

// Errno returns the error that a message of type NLMSG_ERROR carries: 0 if it acknowledges a request.
func (m *Message) Errno() unix.Errno {
	if m.Type != unix.NLMSG_ERROR || len(m.Attrs) < 4 {
		return 0
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(m.Attrs)))
}

// Execute sends one request that asks for an acknowledgement (NLM_F_ACK), and waits for it up to a time. It returns the kernel's
// error, [ErrPermission] where that is EPERM. It is for the time before a socket is used: what else is received meanwhile, or before,
// is handed to other, which may be nil, and is valid only until it returns. An overrun is left to the next [Socket.Receive].
func (s *Socket) Execute(request []byte, wait time.Duration, other func(Message)) error {
	sent, _, ok := NextMessage(request)
	if !ok {
		return errors.New("malformed netlink request")
	}
	deadline := time.Now().Add(wait)
	for asked := false; ; {
		n, err := s.receive()
		if errors.Is(err, ErrOverrun) {
			s.overrun = true
			continue
		}
		if err != nil {
			return err
		}
		answered := false
		for i := range n {
			for m, rest, ok := NextMessage(s.Datagram(i)); ok; m, rest, ok = NextMessage(rest) {
				if m.Type == unix.NLMSG_ERROR && m.Seq == sent.Seq {
					answered = true
					if errno := m.Errno(); errno != 0 {
						err = refusal(errno)
					}
				} else if other != nil {
					other(m)
				}
			}
		}
		if answered {
			return err
		}
		if !asked && n < len(s.headers) { // the socket is empty: there is room for the answer
			if err := s.Send(request); err != nil {
				return err
			}
			asked = true
			continue
		}
		if n > 0 && time.Now().Before(deadline) {
			continue
		}
		ready, err := s.wait(time.Until(deadline))
		if err != nil {
			return err
		}
		if !ready {
			return ErrNoAnswer
		}
	}
}

// wait waits until there is something to receive, and reports whether there is.
func (s *Socket) wait(timeout time.Duration) (ready bool, err error) {
	if timeout <= 0 {
		return false, nil
	}
	polled := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(polled, int(timeout.Milliseconds())+1)
	if errors.Is(err, unix.EINTR) {
		return true, nil // look
	}
	if err != nil {
		return false, fmt.Errorf("wait for netlink: %w", os.NewSyscallError("poll", err))
	}
	return n > 0, nil
}
