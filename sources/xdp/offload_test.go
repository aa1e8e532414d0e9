package xdp

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// withoutPerfmon runs f in a host, on a thread that may not offload.
func withoutPerfmon(t *testing.T, h *nettest.Host, f func()) {
	t.Helper()
	h.Do(func() {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var all [2]unix.CapUserData
		if err := unix.Capget(&header, &all[0]); err != nil {
			t.Error(err)
			return
		}
		less := all
		for _, c := range []int{unix.CAP_PERFMON, unix.CAP_SYS_ADMIN} {
			less[c/32].Effective &^= 1 << (c % 32)
		}
		if err := unix.Capset(&header, &less[0]); err != nil {
			t.Error(err)
			return
		}
		f()
		if err := unix.Capset(&header, &all[0]); err != nil {
			t.Error(err)
		}
	})
}

// TestOffloadWithoutPerfmon opens a source that is to offload sessions without CAP_PERFMON: its queues offer nothing of the kind, and the
// status says why instead of counting flows.
func TestOffloadWithoutPerfmon(t *testing.T) {
	_, tap := cable(t, 1)
	for _, may := range []bool{false, true} {
		var s *Source
		opening := func() { s = openHere(t, Config{Flows: 100}) }
		if may {
			tap.Do(opening)
		} else {
			withoutPerfmon(t, tap, opening)
		}
		if s == nil {
			t.FailNow()
		}
		p := plugged{s}
		_, offloads := p.Queues()[0].(source.Offloader)
		noted := slices.ContainsFunc(s.State().Notes, func(n string) bool { return strings.Contains(n, "CAP_PERFMON") })
		counted := slices.ContainsFunc(p.Counters(), func(c source.Counter) bool { return c.Name == "flows_added" })
		if (p.Carrier() != nil) != may || offloads != may || counted != may || noted == may {
			t.Errorf("may offload %v: carrier %v, offloader %v, counted %v, noted %v", may, p.Carrier() != nil, offloads, counted, noted)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
