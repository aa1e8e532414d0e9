package filterlog

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestNoMatchIsDiscarded pins what other firewalls get wrong: the end of a filter discards, silently, and so does a
// filter without terms.
func TestNoMatchIsDiscarded(t *testing.T) {
	for _, body := range []string{
		``, `term = []`, `term = [{ name = "t", from = { protocol = "tcp" }, then = ["log", "accept"] }]`,
	} {
		v, f := inspect(load(t, body).Ingress, udp(t, 1, 2))
		if v != hook.Drop || f.Found {
			t.Errorf("%q: verdict %d, finding %+v; want a silent drop", body, v, f)
		}
	}
}

func TestActions(t *testing.T) {
	record := func(action event.Action, term uint32) hook.Finding {
		return hook.Finding{Found: true, Kind: event.FilterLog, Action: action, Filter: 1, Term: term, At: event.FilterInput}
	}
	for _, test := range []struct {
		name, terms string
		want        hook.Verdict
		found       hook.Finding
	}{
		{"no then", `{ name = "a" }`, hook.Pass, hook.Finding{}},
		{"nothing terminating", `{ name = "a", then = ["count c", "log"] }`, hook.Pass, record(event.ActionPermit, 0)},
		{"accept", `{ name = "a", then = "accept" }`, hook.Pass, hook.Finding{}},
		{"discard", `{ name = "a", then = "discard" }`, hook.Drop, hook.Finding{}},
		{"reject", `{ name = "a", then = "reject" }`, hook.Prohibit, hook.Finding{}},
		{"accept and log", `{ name = "a", then = ["log", "accept"] }`, hook.Pass, record(event.ActionPermit, 0)},
		{"discard and syslog", `{ name = "a", then = ["discard", "syslog"] }`, hook.Drop, record(event.ActionDeny, 0)},
		{"reject tcp-reset of UDP", `{ name = "a", then = ["reject tcp-reset", "log"] }`, hook.Prohibit, record(event.ActionReject, 0)},
		{"reject and log", `{ name = "a", then = ["reject", "log", "syslog"] }`, hook.Prohibit, record(event.ActionReject, 0)},
		{"first match decides", `{ name = "a", from = { protocol = "tcp" }, then = "reject" }, { name = "b", then = "accept" }, { name = "c", then = ["discard", "log"] }`, hook.Pass, hook.Finding{}},
		{"next term", `{ name = "a", then = "next term" }, { name = "b", then = ["reject", "log"] }`, hook.Prohibit, record(event.ActionReject, 1)},
		{"log kept", `{ name = "a", then = ["log", "next term"] }, { name = "b", then = "discard" }`, hook.Drop, record(event.ActionDeny, 0)},
		{"last log", `{ name = "a", then = ["log", "next term"] }, { name = "b", then = ["log", "accept"] }`, hook.Pass, record(event.ActionPermit, 1)},
		{"next term at the end", `{ name = "a", then = ["next  term", "log"] }`, hook.Drop, record(event.ActionDeny, 0)},
		{"next term skips", `{ name = "a", then = "next term" }, { name = "b", from = { protocol = "tcp" }, then = "accept" }`, hook.Drop, hook.Finding{}},
	} {
		v, f := inspect(load(t, "term = ["+test.terms+"]").Ingress, udp(t, 1, 2))
		if v != test.want {
			t.Errorf("%s: verdict %d, want %d", test.name, v, test.want)
		}
		if diff := cmp.Diff(test.found, f); diff != "" {
			t.Errorf("%s: finding (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestAttachment(t *testing.T) {
	const terms = "\nterm = [{ name = \"t\", then = [\"discard\", \"log\"] }]"
	on := func(id uint32) hook.Packet { return with(udp(t, 1, 2), func(p *hook.Packet) { p.Interface = id }) }
	to := func(id uint16) hook.Packet { return with(udp(t, 1, 2), func(p *hook.Packet) { p.OutZone = id }) }
	const vlan = 100<<16 | wan0

	inst := load(t, terms)
	for _, id := range []uint32{0, wan0, vlan, 8} {
		if v, _ := inspect(inst.Ingress, on(id)); v != hook.Drop {
			t.Errorf("without attach: interface %#x is left alone", id)
		}
	}
	if inst.Egress != nil {
		t.Error("without attach: there is an output filter")
	}

	inst = load(t, `attach.input = ["wan0.100", "lan0"]`+terms)
	for id, want := range map[uint32]hook.Verdict{0: hook.Pass, wan0: hook.Pass, vlan: hook.Drop, 8: hook.Drop} {
		if v, f := inspect(inst.Ingress, on(id)); v != want || f.Found != (want == hook.Drop) {
			t.Errorf("input on wan0.100 and lan0: interface %#x has verdict %d, finding %+v", id, v, f)
		}
	}

	inst = load(t, `attach.output-zone = ["trust", "servers"]`+terms)
	if inst.Ingress != nil {
		t.Error("output only: there is an input filter")
	}
	for id, want := range map[uint16]hook.Verdict{0: hook.Pass, trust: hook.Drop, 2: hook.Pass, server: hook.Drop} {
		v, f := inspect(inst.Egress, to(id))
		if v != want || f.Found != (want == hook.Drop) || f.Found && f.At != event.FilterOutput {
			t.Errorf("output to trust and servers: zone %d has verdict %d, finding %+v", id, v, f)
		}
	}

	inst = load(t, `attach = { input = "wan0", output-zone = "trust" }`+terms)
	if inst.Ingress == nil || inst.Egress == nil {
		t.Error("input and output: one is missing")
	}
}

func TestFamilyLeavesTheOtherAlone(t *testing.T) {
	v4, v6 := udp(t, 1, 2), pkt(t, packet.ProtoUDP, "2001:db8::1", "2001:db8::2")
	for family, want := range map[string][2]hook.Verdict{
		"any": {hook.Drop, hook.Drop}, "inet": {hook.Drop, hook.Pass}, "inet6": {hook.Pass, hook.Drop},
	} {
		inst := load(t, `family = "`+family+`"`)
		a, _ := inspect(inst.Ingress, v4)
		b, _ := inspect(inst.Ingress, v6)
		if a != want[0] || b != want[1] {
			t.Errorf("%s: verdicts %d and %d, want %v", family, a, b, want)
		}
	}
}

func TestNamesOfTerms(t *testing.T) {
	_, names := loadTable(t, Plugin().Sample, "edge-in")
	if filter, term := names.Term(1, 4); filter != "edge-in" || term != "ssh" {
		t.Errorf("filter 1, term 4 is %q, %q", filter, term)
	}
}

func TestCounters(t *testing.T) {
	inst := load(t, `
term = [
	{ name = "a", then = ["count all", "next term"] },
	{ name = "b", from = { protocol = "tcp" }, then = [{ count = "ip" }, "accept"] },
	{ name = "c", from = { protocol = "udp" }, then = ["count ip", "discard"] },
	{ name = "d", from = { protocol = "esp" }, then = "count esp" },
]`)
	packets := []hook.Packet{tcp(t, 0, 80), udp(t, 1, 2), icmp(t, 1, 8, 0)}
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for range 1000 {
				for _, p := range packets {
					p.Worker = w
					inspect(inst.Ingress, p)
				}
			}
		})
	}
	wg.Wait()
	want := []hook.Counter{
		{Name: "all", Packets: 6000, Bytes: 360_000}, {Name: "ip", Packets: 4000, Bytes: 240_000}, {Name: "esp"},
	}
	if diff := cmp.Diff(want, inst.Counters()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}
