package policydeny

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/hook"
)

func TestCounters(t *testing.T) {
	x := load(t, `
		[[hooks.policies.policy]]
		name = "off"
		from = "any"
		to = "any"
		then = "deny"
		enabled = false
		[[hooks.policies.policy]]
		name = "web"
		from = "trust"
		to = "untrust"
		application = "junos-https"
		then = "permit"`)
	const rounds = 1000
	var workers sync.WaitGroup
	for worker := range 2 {
		workers.Go(func() {
			var (
				permit hook.Permit
				f      hook.Finding
			)
			hit, miss := web(), web()
			hit.Worker, miss.Worker = worker, worker
			miss.DstPort, miss.IPLen = 22, 1
			for range rounds {
				x.Session.Decide(&hit, &permit, &f)
				x.Session.Decide(&miss, &permit, &f)
				x.Session.Denied(&miss, &f)
				x.Session.Denied(&miss, &f)          // another packet of the flow
				x.Session.Decide(&miss, &permit, &f) // it turns out to be an answer
			}
			x.Session.(hook.Publisher).Publish(worker)
		})
	}
	x.Counters() // while they are written, for the race detector
	workers.Wait()
	want := []hook.Counter{
		{Name: "web", Packets: 2 * rounds, Bytes: 2 * rounds * 60},
		{Name: "default-deny", Packets: 4 * rounds, Bytes: 4 * rounds},
	}
	if diff := cmp.Diff(want, x.Counters()); diff != "" {
		t.Error(diff)
	}
}
