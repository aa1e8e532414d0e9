package translation

import (
	"testing"
	"testing/fstest"

	"github.com/rtflow/pipelined/internal/machine"
)

// TestExamine looks for what the option needs, and for nothing where nobody is asked.
func TestExamine(t *testing.T) {
	m := &machine.Machine{Root: fstest.MapFS{
		"proc/thread-self/status":           &fstest.MapFile{Data: []byte("CapEff:\t2000\n")},
		"sys/module/nf_conntrack_netlink/x": &fstest.MapFile{},
	}}
	if got := Option(false).Examine(m); got != nil {
		t.Errorf("without the option: %v", got)
	}
	got := Option(true).Examine(m)
	if len(got) != 2 || got[0].Subject != "capabilities" || got[0].Verdict != machine.Missing || got[1].Verdict != machine.OK {
		t.Errorf("with CAP_NET_RAW alone: %+v", got)
	}
}
