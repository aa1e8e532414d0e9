package unixsock

import (
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/unixsocket"
)

// Peers are whom a connection may lead to: processes of these users, or of these primary groups, by name or number. The zero
// value lets everybody.
type Peers struct{ Users, Groups []string }

// check returns an error if the process at the other end is not one of them, or cannot be told. The kernel says who it is: the
// process that has connected, or that listens.
func (p *Peers) check(conn net.Conn) error {
	if len(p.Users)+len(p.Groups) == 0 {
		return nil
	}
	cred, err := unixsocket.Credentials(conn)
	if err != nil {
		return fmt.Errorf("unixsock: who is at the other end cannot be told: %w", err)
	}
	var unknown []string
	has := func(names []string, id uint32, lookup func(string) (string, error)) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			number, err := lookup(name)
			if err != nil {
				unknown = append(unknown, err.Error())
			}
			return err == nil && number == strconv.FormatUint(uint64(id), 10)
		})
	}
	if has(p.Users, cred.Uid, userID) || has(p.Groups, cred.Gid, groupID) {
		return nil
	}
	why := ""
	if unknown != nil {
		why = " (" + strings.Join(unknown, "; ") + ")"
	}
	return fmt.Errorf("unixsock: the process at the other end is not allowed by peer_user and peer_group: pid %d, uid %d, gid %d%s",
		cred.Pid, cred.Uid, cred.Gid, why)
}

// userID returns the number of a user.
func userID(name string) (string, error) {
	if _, err := strconv.ParseUint(name, 10, 32); err == nil {
		return name, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

// groupID returns the number of a group.
func groupID(name string) (string, error) {
	if _, err := strconv.ParseUint(name, 10, 32); err == nil {
		return name, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// peerOf names the process at the other end, "" if that cannot be told.
func peerOf(conn net.Conn) string {
	cred, err := unixsocket.Credentials(conn)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("pid %d, uid %d", cred.Pid, cred.Uid)
}
