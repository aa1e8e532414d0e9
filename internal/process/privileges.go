package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// confineThread takes from the calling thread, and so from every process that it starts, the ways to get rights by executing a file:
// no_new_privs, no ambient and no inheritable capabilities, and an empty bounding set where the daemon may change that. The
// thread keeps its own effective capabilities, since it starts processes as other users.
//
// The processes have no capability then, also those of root: a file's capabilities and the set-user-ID bit do nothing under
// no_new_privs, and root gets at most what is in the bounding set (capabilities(7)).
func confineThread() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	caps[0].Inheritable, caps[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &caps[0]); err != nil {
		return fmt.Errorf("inheritable capabilities: %w", err)
	}
	for c := range uintptr(64) {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			break // beyond the last
		}
		if in == 0 {
			continue
		}
		err = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
			break // processes of other users than root cannot use it
		}
		if err != nil {
			return fmt.Errorf("capability %d cannot be taken from processes (a daemon that runs as root needs CAP_SETPCAP for that): %w", c, err)
		}
	}
	return nil
}

// closeOnExec keeps descriptors from the processes to start. Those that this process opens are marked already; those that it has
// inherited itself may not be.
func closeOnExec() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("open descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
