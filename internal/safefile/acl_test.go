package safefile_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

// TestAccessList goes through a directory, and to a program, whose access control list names others: the mode shows its mask as the
// permissions of the group.
func TestAccessList(t *testing.T) {
	needRoot(t)
	const user, group = 0x02, 0x08
	for _, c := range []struct {
		name      string
		tag, perm uint16
		id        uint32
		mask      uint16
		wantErr   string
	}{
		{name: "a user writes", tag: user, perm: 7, id: stranger, mask: 7, wantErr: "can be written by user 1234"},
		{name: "a group writes", tag: group, perm: 6, id: stranger, mask: 7, wantErr: "can be written by group 1234"},
		{name: "root writes", tag: user, perm: 7, id: 0, mask: 7},
		{name: "root's group writes", tag: group, perm: 7, id: 0, mask: 7},
		{name: "a user reads", tag: user, perm: 5, id: stranger, mask: 7},
		{name: "masked", tag: user, perm: 7, id: stranger, mask: 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := tree(t, "d up", "d up/log", "f up/log/p 0755", "f p 0755")
			type entry struct {
				tag, perm uint16
				id        uint32
			}
			entries := []entry{{0x01, 7, ^uint32(0)}, {c.tag, c.perm, c.id}, {0x04, 5, ^uint32(0)}, {0x10, c.mask, ^uint32(0)}, {0x20, 5, ^uint32(0)}}
			slices.SortFunc(entries, func(a, b entry) int { return int(a.tag) - int(b.tag) }) // as the kernel wants them
			list := binary.LittleEndian.AppendUint32(nil, 2)
			for _, e := range entries {
				list = binary.LittleEndian.AppendUint16(list, e.tag)
				list = binary.LittleEndian.AppendUint16(list, e.perm)
				list = binary.LittleEndian.AppendUint32(list, e.id)
			}
			for _, name := range []string{"up", "p"} {
				err := unix.Setxattr(filepath.Join(base, name), "system.posix_acl_access", list, 0)
				if errors.Is(err, unix.EOPNOTSUPP) && os.Getenv("PIPELINED_REQUIRE_ACL") != "1" {
					t.Skip("the file system has no access control lists")
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			check := func(what string, err error) {
				t.Helper()
				if (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("%s: %v, want %q", what, err, c.wantErr)
				}
			}
			for _, path := range []string{"up", "up/log"} { // the last directory, and one above
				d, err := safefile.OpenDir(filepath.Join(base, path), safefile.Options{})
				check(path, err)
				if err == nil {
					_ = d.Close() // nothing was written
				}
			}
			check("executable", safefile.CheckExecutable(filepath.Join(base, "p")))
			check("executable in a directory", safefile.CheckExecutable(filepath.Join(base, "up/log/p")))
		})
	}
}
