package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// marker is the environment variable by which a process, and what it has started, is recognised after its daemon is gone.
// Its value is the daemon's directory.
const marker = reservedPrefix + "INSTANCE"

// reservedPrefix begins the names of variables that the daemon sets itself.
const reservedPrefix = "PIPELINED_"

// killMarked kills every process whose environment says that it belongs to the directory of a daemon, and says how many.
func killMarked(path string) (killed int, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		if !marked(dir, path) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &pid); err != nil {
			continue
		}
		// The process may end and its number be another's meanwhile: what the descriptor names stays the same.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if marked(dir, path) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
			killed++
		}
		_ = unix.Close(fd) // nothing was written to it
	}
	return killed, nil
}

func marked(proc, path string) bool {
	environ, err := os.ReadFile(filepath.Join(proc, "environ"))
	if err != nil {
		return false // gone, or not ours to look at
	}
	for entry := range strings.SplitSeq(string(environ), "\x00") {
		if entry == marker+"="+path {
			return true
		}
	}
	return false
}
