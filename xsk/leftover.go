package xsk

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asavie/xdp never unmaps the rings of a socket, neither when it closes the socket nor when opening one fails. A mapping
// keeps the socket alive, and the socket its queue. The mappings are found in the process's own list.

// ringMapping is one mapping of a socket, and a ring if it is an AF_XDP socket.
type ringMapping struct {
	address    uintptr
	pageOffset uint64 // which ring
	inode      uint64 // which socket
}

// unmapSocket unmaps the rings of the socket with this inode.
func unmapSocket(inode uint64, l *layout) error {
	mappings, err := ringMappings()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mappings {
		if m.inode == inode {
			errs = append(errs, m.unmap(l))
		}
	}
	return errors.Join(errs...)
}

// unmapOrphans unmaps the rings of sockets that have no descriptor in this process: what a failed open leaves behind.
func unmapOrphans(l *layout) error {
	mappings, err := ringMappings()
	if err != nil || len(mappings) == 0 {
		return err
	}
	open, err := openSockets()
	if err != nil {
		return err
	}
	// The fill ring is the first that is mapped, and no other family of sockets has anything at its offset.
	ours := make(map[uint64]bool)
	for _, m := range mappings {
		ours[m.inode] = ours[m.inode] || m.pageOffset == unix.XDP_UMEM_PGOFF_FILL_RING
	}
	var errs []error
	for _, m := range mappings {
		if ours[m.inode] && !open[m.inode] {
			errs = append(errs, m.unmap(l))
		}
	}
	return errors.Join(errs...)
}

// unmap uses the package that asavie/xdp mapped with, and the exact length, so that its table of mappings is right too.
func (m ringMapping) unmap(l *layout) error {
	length, ok := l.lengthAt(m.pageOffset)
	if !ok {
		return nil // a ring that we never ask for
	}
	// The address is not one that Go's memory manager knows, so it cannot move.
	start := *(*unsafe.Pointer)(unsafe.Pointer(&m.address))
	if err := syscall.Munmap(unsafe.Slice((*byte)(start), length)); err != nil {
		return fmt.Errorf("unmap a ring of socket %d: %w", m.inode, err)
	}
	return nil
}

// ringMappings lists the mappings of sockets in the process. Some may be of other families than AF_XDP.
func ringMappings() ([]ringMapping, error) {
	file, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("look for leftover ring mappings: %w", err)
	}
	defer file.Close()

	var mappings []ringMapping
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if m, ok := parseMapping(lines.Text()); ok {
			mappings = append(mappings, m)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("look for leftover ring mappings: %w", err)
	}
	return mappings, nil
}

// parseMapping understands a line such as
//
//	7f12a000-7f12c000 rw-s 100000000 00:08 4711 socket:[4711]
func parseMapping(line string) (ringMapping, bool) {
	fields := strings.Fields(line)
	if len(fields) != 6 || !strings.HasPrefix(fields[5], "socket:[") {
		return ringMapping{}, false
	}
	first, _, ok := strings.Cut(fields[0], "-")
	address, err1 := strconv.ParseUint(first, 16, 64)
	pageOffset, err2 := strconv.ParseUint(fields[2], 16, 64)
	inode, err3 := strconv.ParseUint(fields[4], 10, 64)
	if !ok || err1 != nil || err2 != nil || err3 != nil {
		return ringMapping{}, false
	}
	return ringMapping{address: uintptr(address), pageOffset: pageOffset, inode: inode}, true
}

// openSockets returns the inodes of the sockets that the process has descriptors of.
func openSockets() (map[uint64]bool, error) {
	const descriptors = "/proc/self/fd"
	entries, err := os.ReadDir(descriptors)
	if err != nil {
		return nil, fmt.Errorf("list open sockets: %w", err)
	}
	open := make(map[uint64]bool)
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(descriptors, entry.Name()))
		if err != nil {
			continue // closed since
		}
		number, ok := strings.CutPrefix(target, "socket:[")
		if !ok {
			continue
		}
		if inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); err == nil {
			open[inode] = true
		}
	}
	return open, nil
}
