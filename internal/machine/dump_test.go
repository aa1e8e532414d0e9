package machine

import (
	"testing"

	"github.com/vishvananda/netlink"
)

// TestDumpIsRepeated holds that a list which changed while it was read is read again, and not for ever.
func TestDumpIsRepeated(t *testing.T) {
	for _, interrupted := range []int{0, 1, maxDumps - 1, maxDumps} {
		calls := 0
		got, err := Dump(func() ([]int, error) {
			if calls++; calls <= interrupted {
				return []int{0}, netlink.ErrDumpInterrupted
			}
			return []int{1}, nil
		})
		if whole := interrupted < maxDumps; (err == nil) != whole || whole && got[0] != 1 || calls != min(interrupted+1, maxDumps) {
			t.Errorf("interrupted %d times: %v, %v after %d calls", interrupted, got, err, calls)
		}
	}
}
