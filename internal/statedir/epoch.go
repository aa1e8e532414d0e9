package statedir

import (
	"fmt"
	"strconv"
	"strings"
)

const epochFile = "epoch"

// maxEpoch is the highest epoch that is believed: nanoseconds since 1970 until the year 2262.
const maxEpoch = 1<<63 - 1

// ReserveEpochs returns the first of n epochs in a row that no run has used, at least atLeast. They are used from then on,
// whatever becomes of this run. An error leaves nothing reserved: with 0 it is not known what runs have used, else the epochs
// returned are unused, but a later run may be given them too.
func (d *Dir) ReserveEpochs(atLeast uint64, n int) (uint64, error) {
	d.mu.Lock()
	first := max(atLeast, d.reserved+1) // the file may be gone
	d.mu.Unlock()
	err := d.read(epochFile, func(b []byte) error {
		used, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		if err != nil || used > maxEpoch-uint64(n) {
			return fmt.Errorf("want an epoch in nanoseconds, got %.40q", b)
		}
		first = max(first, used+1)
		return nil
	})
	if err != nil {
		return 0, err
	}
	last := first + uint64(n) - 1
	err = d.write(epochFile, strconv.AppendUint(nil, last, 10))
	d.mu.Lock()
	d.reserved = max(d.reserved, last)
	d.mu.Unlock()
	return first, err
}
