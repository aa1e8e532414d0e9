package unixsock

import (
	"testing"

	"github.com/rtflow/pipelined/sdk"
)

// TestSucceed has a sink take over from one with other options: what its receiver is owed goes on being owed, and a receiver at another
// socket, or with frames of another layout, is told what lives.
func TestSucceed(t *testing.T) {
	former := New(Config{Path: "/run/a"})
	former.acked, former.highest, former.owed = 10, 14, owed{from: 5, until: 20}
	for name, c := range map[string]struct {
		config  Config
		highest uint64
		owed    owed
	}{
		"the same":       {Config{Path: "/run/a"}, 14, owed{from: 5, until: 20}},
		"another socket": {Config{Path: "/run/b"}, 10, owed{from: 11, until: outOfReach}},
		"another layout": {Config{Path: "/run/a", Delta: true}, 10, owed{from: 11, until: outOfReach}},
	} {
		k := New(c.config)
		k.Succeed(former)
		if k.acked != 10 || uint64(k.highest) != c.highest || k.owed != c.owed {
			t.Errorf("%s: acknowledged %d, highest %d, owed %+v", name, k.acked, k.highest, k.owed)
		}
	}
	k := New(Config{Path: "/run/a"})
	if k.Succeed(sdk.Writer(nil)); k.acked != 0 || k.owed != (owed{from: 1, until: outOfReach}) {
		t.Errorf("after a sink of another plugin: %d, %+v", k.acked, k.owed)
	}
}
