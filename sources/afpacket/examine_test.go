package afpacket

import (
	"errors"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/memory"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// verdicts returns the verdict about each subject of each part.
func verdicts(findings []machine.Finding) map[string]machine.Verdict {
	list := make(map[string]machine.Verdict)
	for _, f := range findings {
		list[f.Part+": "+f.Subject] = f.Verdict
	}
	return list
}

// TestExamine looks at machines of files.
func TestExamine(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	root := fstest.MapFS{
		"proc/sys/kernel/osrelease":      file("4.20.0\n"),
		"proc/thread-self/net/protocols": file("protocol size\nPACKET 1\n"),
		"proc/thread-self/status":        file("CapEff:\t2000\n"),
	}
	want := map[string]machine.Verdict{"AF_PACKET: kernel": machine.OK, "AF_PACKET: sockets": machine.OK, "AF_PACKET: capabilities": machine.OK}
	if diff := cmp.Diff(want, verdicts(Examine(&machine.Machine{Root: root}))); diff != "" {
		t.Error(diff)
	}
	root["proc/sys/kernel/osrelease"] = file("4.19.7\n")
	root["proc/thread-self/net/protocols"] = file("UDP 1\n")
	root["proc/thread-self/status"] = file("CapEff:\t1000\n") // CAP_NET_ADMIN does not do
	want = map[string]machine.Verdict{"AF_PACKET: kernel": machine.Missing, "AF_PACKET: sockets": machine.Missing, "AF_PACKET: capabilities": machine.Missing}
	if diff := cmp.Diff(want, verdicts(Examine(&machine.Machine{Root: root}))); diff != "" {
		t.Error(diff)
	}
}

// TestMemory has less memory left than the rings take.
func TestMemory(t *testing.T) {
	c := Config{Interfaces: []Interface{{Name: "lan0"}, {Name: "wan0"}}, Workers: 4, RingSize: 64 << 20}
	for kilobytes, want := range map[int]machine.Verdict{512 << 10: machine.OK, 512<<10 - 1: machine.Warning} {
		root := fstest.MapFS{"proc/meminfo": {Data: fmt.Appendf(nil, "MemAvailable: %d kB\n", kilobytes)}}
		if got := verdicts(examineConfig(&machine.Machine{Root: root}, c))["AF_PACKET: memory"]; got != want {
			t.Errorf("%d kB: %v, want %v", kilobytes, got, want)
		}
		if err := c.checkMemory(memory.OfSystem(root)); errors.Is(err, ErrMemory) != (want != machine.OK) {
			t.Errorf("%d kB: %v", kilobytes, err)
		}
	}
	c.Workers, c.RingSize = 1<<20, 1<<30
	if _, err := Open(c); !errors.Is(err, ErrMemory) {
		t.Errorf("2 PiB of rings: %v", err)
	}
}

// TestExamineInterfaces looks at interfaces of a namespace, and at one that it does not have.
func TestExamineInterfaces(t *testing.T) {
	nettest.Require(t)
	a, b := nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(a, "lan0", b, "eth0", 1)
	nettest.Cable(a, "off0", b, "eth1", 1)
	a.SetDown("off0")
	a.Do(func() {
		got := verdicts(Examine(machine.This(), "lan0", "off0", "none0"))
		optional := examineConfig(machine.This(), Config{Workers: 1, RingSize: 2 << 20, Interfaces: []Interface{
			{Name: "lan0", Optional: true}, {Name: "off0", Optional: true}, {Name: "none0", Optional: true}, {Name: "none1"}}})
		for name, want := range map[string]machine.Verdict{"lan0": machine.OK, "off0": machine.Warning, "none0": machine.OK, "none1": machine.Missing} {
			if got := verdicts(optional)["interface "+name+": link"]; got != want {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
		want := map[string]machine.Verdict{
			"AF_PACKET: kernel": machine.OK, "AF_PACKET: sockets": machine.OK, "AF_PACKET: capabilities": machine.OK,
			"interface lan0: link": machine.OK, "interface off0: link": machine.Warning, "interface none0: link": machine.Missing,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
