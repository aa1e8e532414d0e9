package capture

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openFile opens a file without waiting. A FIFO without a writer opens at once, and its reads can be ended by closing it.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// awaitedFile reads a file that may be a FIFO that has no writer yet: a read would take that for its end.
type awaitedFile struct {
	*os.File
	begun bool
}

// Read waits for the first writer, then for what it writes. It returns [os.ErrClosed] when the file is closed meanwhile.
func (a *awaitedFile) Read(p []byte) (int, error) {
	if !a.begun {
		if err := a.await(); err != nil {
			return 0, err
		}
		a.begun = true
	}
	return a.File.Read(p)
}

// await returns when there is something to read, or a writer has come and gone.
func (a *awaitedFile) await() error {
	raw, err := a.SyscallConn()
	if err != nil {
		return err
	}
	var pollErr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(set, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			pollErr = err
			return n != 0 || err != nil
		}
	})
	if err == nil {
		err = pollErr
	}
	if err != nil && isNoPoll(err) {
		return nil // a device that cannot be waited for: its reads wait by themselves
	}
	return err
}

// isNoPoll reports whether err says that the runtime cannot wait for the file.
func isNoPoll(err error) bool { return errors.Is(err, os.ErrNoDeadline) }
