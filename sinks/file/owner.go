package file

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/rtflow/pipelined/sdk"
)

// owner is whom files are given to; -1 is whoever makes them.
type owner struct{ uid, gid int }

// ownership looks the names up: names of this machine, or numbers.
func ownership(cfg sdk.Config, userName, groupName string) (o owner, ok bool) {
	o, ok = owner{-1, -1}, true
	if userName != "" {
		id := userName
		if u, err := user.Lookup(userName); err == nil {
			id = u.Uid
		}
		if o.uid, ok = number(id); !ok {
			cfg.Errorf("owner", "there is no user %q on this machine", userName)
		}
	}
	if groupName != "" {
		id := groupName
		if g, err := user.LookupGroup(groupName); err == nil {
			id = g.Gid
		}
		known := false
		if o.gid, known = number(id); !known {
			cfg.Errorf("group", "there is no group %q on this machine", groupName)
			ok = false
		}
	}
	return o, ok
}

// users returns to whom files may belong beside the user of this process.
func (o owner) users() []int {
	if o.uid < 0 {
		return nil
	}
	return []int{o.uid}
}

func number(id string) (int, bool) {
	n, err := strconv.ParseUint(id, 10, 31)
	return int(n), err == nil
}

// orOf takes what is not configured from a file. Without the right to give files away, what this process makes stays its own.
func (o owner) orOf(info fs.FileInfo) owner {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return o
	}
	if o.uid < 0 && int(st.Uid) != os.Geteuid() && os.Geteuid() == 0 {
		o.uid = int(st.Uid)
	}
	if o.gid < 0 && int(st.Gid) != os.Getegid() && os.Geteuid() == 0 {
		o.gid = int(st.Gid)
	}
	return o
}

// give gives a file to the owner.
func (o owner) give(f *os.File) error {
	if o.uid < 0 && o.gid < 0 {
		return nil
	}
	if err := f.Chown(o.uid, o.gid); err != nil {
		return fmt.Errorf("cannot change owner or group (needs CAP_CHOWN, or a group that this user is in): %w", err)
	}
	return nil
}
