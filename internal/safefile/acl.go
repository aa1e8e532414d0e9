package safefile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// accessList is the extended attribute that holds the POSIX access control list of a file (acl(5)).
const accessList = "system.posix_acl_access"

// maxAttribute is the size of the largest extended attribute (XATTR_SIZE_MAX).
const maxAttribute = 64 << 10

// The layout of the attribute (linux/posix_acl_xattr.h): a version, then entries of a tag, permissions and an id.
const (
	listVersion = 2
	listHeader  = 4
	listEntry   = 8

	tagUser  = 0x02 // a named user
	tagGroup = 0x08 // a named group
	mayWrite = 0x02
)

// listed says whom the access control list of an open file lets write to it beside its owner and its group. With a list the group's
// bits of the mode are the most that it gives to anybody.
func listed(fd int, path string) error {
	buf := make([]byte, maxAttribute)
	n, err := unix.Getxattr(fdPath(fd), accessList, buf)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: the access control list cannot be read: %w", path, err)
	}
	list := buf[:n]
	if n < listHeader || (n-listHeader)%listEntry != 0 || binary.LittleEndian.Uint32(list) != listVersion {
		return fmt.Errorf("%s: the access control list is of an unknown layout", path)
	}
	for list = list[listHeader:]; len(list) > 0; list = list[listEntry:] {
		tag, perm, id := binary.LittleEndian.Uint16(list), binary.LittleEndian.Uint16(list[2:]), binary.LittleEndian.Uint32(list[4:])
		switch {
		case perm&mayWrite == 0:
		case tag == tagUser && !trusted(id):
			return &UnsafeError{Path: path, Why: "can be written by " + userName(id) + ", whom its access control list names", Writers: true}
		case tag == tagGroup && !ownGroup(id):
			return &UnsafeError{Path: path, Why: "can be written by " + groupName(id) + ", which its access control list names", Writers: true}
		}
	}
	return nil
}
