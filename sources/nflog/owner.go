package nflog

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// owner is who has bound a group.
type owner struct {
	port    string // of its netlink socket
	pid     string // number of the process, "" if it was not found
	process string // its name
}

// String names the owner as far as it is known.
func (o owner) String() string {
	if o.pid == "" {
		return fmt.Sprintf("netlink port %s, often ulogd2", o.port)
	}
	return fmt.Sprintf("%s, process %s", o.process, o.pid)
}

// readOwners reads the kernel's list of the groups that are bound in the network namespace of the calling thread, which only root can
// read. Root is "/".
func readOwners(root fs.FS) (map[uint16]owner, error) {
	list, err := fs.ReadFile(root, ownersPath)
	if err != nil {
		return nil, err
	}
	owners := make(map[uint16]owner)
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		group, err := strconv.ParseUint(fields[0], 10, 16)
		if err != nil {
			continue
		}
		owners[uint16(group)] = owner{port: fields[1]}
	}
	findProcesses(root, owners)
	return owners, nil
}

const (
	ownersPath  = "proc/thread-self/net/netfilter/nfnetlink_log"
	netlinkPath = "proc/thread-self/net/netlink"
)

// findProcesses finds the processes of owners: those that have the sockets open, as far as that can be read, or else those whose
// number is the port, as the kernel numbers the first netlink socket of a process.
func findProcesses(root fs.FS, owners map[uint16]owner) {
	if len(owners) == 0 {
		return
	}
	pids := socketHolders(root, netfilterSockets(root))
	for group, o := range owners {
		pid, held := pids[o.port]
		if !held {
			pid = o.port
		}
		name := path.Join("proc", pid, "comm")
		if !fs.ValidPath(name) {
			continue
		}
		if comm, err := fs.ReadFile(root, name); err == nil {
			o.pid, o.process = pid, strings.TrimSpace(string(comm))
			owners[group] = o
		}
	}
}

// netfilterSockets reads the kernel's list of netlink sockets. It returns the ports of those for netfilter by what their descriptors
// link to.
func netfilterSockets(root fs.FS) map[string]string {
	list, err := fs.ReadFile(root, netlinkPath)
	if err != nil {
		return nil
	}
	ports := make(map[string]string)
	for line := range strings.Lines(string(list)) {
		// sk, protocol, port, groups, two sizes, dump, locks, drops, inode
		fields := strings.Fields(line)
		if len(fields) >= 10 && fields[1] == strconv.Itoa(unix.NETLINK_NETFILTER) {
			ports["socket:["+fields[9]+"]"] = fields[2]
		}
	}
	return ports
}

// socketHolders returns the numbers of the processes that have sockets open, by port.
func socketHolders(root fs.FS, ports map[string]string) map[string]string {
	pids := make(map[string]string)
	if len(ports) == 0 {
		return pids
	}
	processes, _ := fs.ReadDir(root, "proc") // what cannot be read has no holders
	for _, process := range processes {
		if _, err := strconv.ParseUint(process.Name(), 10, 32); err != nil {
			continue
		}
		dir := path.Join("proc", process.Name(), "fd")
		descriptors, _ := fs.ReadDir(root, dir) // as above
		for _, d := range descriptors {
			link, err := fs.ReadLink(root, path.Join(dir, d.Name()))
			if err != nil {
				continue
			}
			if port, ok := ports[link]; ok {
				pids[port] = process.Name()
			}
		}
	}
	return pids
}
