package nflog

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// owner is who has bound a group.
type owner struct {
	port    string // of its netlink socket. That of the first netlink socket of a process is the number of the process
	process string // name of the process with that number, "" if there is none
}

// String names the owner as far as it is known.
func (o owner) String() string {
	if o.process == "" {
		return fmt.Sprintf("netlink port %s, often ulogd2", o.port)
	}
	return fmt.Sprintf("%s, process %s", o.process, o.port)
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
		o := owner{port: fields[1]}
		if name := path.Join("proc", o.port, "comm"); fs.ValidPath(name) {
			if comm, err := fs.ReadFile(root, name); err == nil {
				o.process = strings.TrimSpace(string(comm))
			}
		}
		owners[uint16(group)] = o
	}
	return owners, nil
}

const ownersPath = "proc/thread-self/net/netfilter/nfnetlink_log"
