package format_test

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// names is a small firewall.
func names() *event.Names {
	return &event.Names{
		Zones:        map[uint16]string{1: "trust", 2: "untrust"},
		Policies:     []string{"", "web-out", "deny-telnet"},
		Filters:      []event.Filter{{}, {Name: "edge-in", Terms: []string{"ssh", "rest"}}},
		Interfaces:   map[uint32]string{1: "ge-0/0/0.0", 2: "ge-0/0/1.0"},
		Applications: []string{"", "junos-https", "junos-telnet", "icmp"},
	}
}

func at(s string) int64 {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t.UnixNano()
}

// flow makes a record of that kind between two addresses, at a second of 2026-03-01T10:15.
func flow(k event.Kind, second string, proto uint8, src, dst string) *event.Record {
	r := &event.Record{}
	r.Reset(k)
	r.SetTime(at("2026-03-01T10:15:" + second + "Z"))
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	family, a, b := uint8(event.FamilyIPv6), from.Addr().As16(), to.Addr().As16()
	if from.Addr().Is4() {
		family, a, b = event.FamilyIPv4, four(from.Addr()), four(to.Addr())
	}
	r.SetFlow(family, proto, &a, &b, from.Port(), to.Port())
	r.SetSeq(7)
	return r
}

func four(a netip.Addr) (b [16]byte) {
	v := a.As4()
	copy(b[:], v[:])
	return b
}

type sample struct {
	name string
	r    *event.Record
}

// samples is one record of everything that has a line of its own. The first four are those whose lines are known.
func samples() []sample {
	var all []sample
	add := func(name string, r *event.Record) { all = append(all, sample{name, r}) }

	open := flow(event.SessionOpen, "20.125", 6, "10.0.1.20:51002", "198.51.100.10:443")
	open.SetZones(1, 2)
	open.SetInterface(2)
	open.SetPolicy(1)
	open.SetApplication(1)
	open.SetSessionID(9001)
	add("open", open)

	deny := flow(event.PolicyDeny, "21.003", 6, "203.0.113.5:40000", "10.0.1.30:23")
	deny.SetZones(2, 1)
	deny.SetInterface(1)
	deny.SetDeny(2, 9002, 0)
	deny.SetApplication(2)
	add("deny", deny)

	udpFlood := flow(event.ScreenDrop, "22", 17, "203.0.113.7:4000", "10.0.1.53:53")
	udpFlood.SetScreen(event.ScreenUDPFlood)
	udpFlood.SetZones(2, 0)
	udpFlood.SetInterface(1)
	add("udp flood", udpFlood)

	discard := flow(event.FilterLog, "23", 6, "203.0.113.9:51000", "10.0.1.22:22")
	discard.SetFilter(1, 0, event.FilterInput, 0, 0)
	discard.SetZones(2, 0)
	discard.SetInterface(1)
	add("discard", discard)

	openNAT := *open
	src, dst := four(netip.MustParseAddr("192.0.2.1")), four(netip.MustParseAddr("10.9.9.9"))
	openNAT.SetNAT(&src, &dst, 61002, 8443)
	add("open with nat", &openNAT)

	open6 := flow(event.SessionOpen, "20.5", 58, "[2001:db8:1::66]:20564", "[2001:db8:2::35]:5")
	open6.SetSessionID(85905209174)
	add("open icmpv6 without names", open6)

	for _, why := range []struct {
		name   string
		reason event.CloseReason
	}{
		{"none", event.CloseNone}, {"timeout", event.CloseTimeout}, {"fin", event.CloseFIN}, {"rst", event.CloseRST},
		{"age out", event.CloseAgeOut}, {"policy", event.ClosePolicy}, {"client rst", event.CloseClientRST},
		{"server rst", event.CloseServerRST}, {"response", event.CloseResponse}, {"icmp error", event.CloseICMPError},
		{"unknown", 99},
	} {
		c := flow(event.SessionClose, "50.875", 6, "10.0.1.20:51002", "198.51.100.10:443")
		c.SetZones(1, 2)
		c.SetInterface(2)
		c.SetPolicy(1)
		c.SetApplication(1)
		c.SetSessionID(85905209174)
		c.SetClose(12, 3456, 10, 65432, uint32(at("2026-03-01T10:15:20Z")/1e9), why.reason)
		add("close "+why.name, c)
	}
	sourceNAT := *all[len(all)-1].r
	sourceNAT.SetNAT(&src, &[16]byte{}, 61002, 0)
	add("close with source nat", &sourceNAT)

	limits := flow(event.SessionClose, "50", 132, "10.0.1.20:65535", "198.51.100.10:0")
	limits.SetTime(at("2150-01-01T00:00:00Z"))
	limits.SetClose(math.MaxUint64, math.MaxUint64, 1, 1, 1, event.CloseTimeout)
	limits.SetSessionID(math.MaxUint64)
	add("close at every limit", limits)

	reject := *deny
	reject.SetAction(event.ActionReject)
	add("reject", &reject)
	ping := flow(event.PolicyDeny, "21.1", 1, "203.0.113.5:20564", "10.0.1.30:5")
	ping.SetDeny(2, 1<<48-1, 8)
	ping.SetApplication(3)
	add("deny icmp", ping)

	for s := range event.Screen(event.NumScreens) {
		if s == event.ScreenExtended {
			continue
		}
		r := flow(event.ScreenDrop, "22.5", 6, "203.0.113.7:4000", "10.0.1.53:53")
		r.SetScreen(s)
		r.SetZones(2, 0)
		r.SetInterface(1)
		add("screen "+s.String(), r)
	}
	for _, proto := range []uint8{1, 17, 47} {
		land := flow(event.ScreenDrop, "22.5", proto, "10.0.1.53:53", "10.0.1.53:53")
		land.SetScreen(event.ScreenLand)
		land.SetAction(event.ActionPermit)
		add("land, alarm without drop", land)
	}
	add("screen unknown", flow(event.ScreenDrop, "22.5", 17, "203.0.113.7:4000", "10.0.1.53:53"))

	for _, f := range []struct {
		name   string
		proto  uint8
		action event.Action
	}{
		{"accept udp", 17, event.ActionPermit}, {"reject icmp", 1, event.ActionReject}, {"accept icmp6", 58, event.ActionPermit},
		{"discard ospf", 89, event.ActionDeny}, {"discard unnamed", 200, event.ActionDeny}, {"accept sctp", 132, event.ActionPermit},
	} {
		r := flow(event.FilterLog, "23.25", f.proto, "203.0.113.9:51000", "10.0.1.22:22")
		r.SetAction(f.action)
		r.SetFilter(1, 1, event.FilterOutput, 3, 13)
		r.SetInterface(2)
		add(f.name, r)
	}

	loss := &event.Record{}
	loss.Reset(event.Loss)
	loss.SetLoss(event.LossRateLimited, 2, &event.LossCounts{event.PolicyDeny: 42, event.ScreenDrop: 7},
		at("2026-03-01T10:15:23.5Z"), at("2026-03-01T10:15:24.5Z"))
	add("loss", loss)
	evicted := &event.Record{}
	evicted.Reset(event.Loss)
	evicted.SetLoss(event.LossEvicted, 0, &event.LossCounts{1, 2, 3, 4, 5}, 0, 0)
	add("loss of everything", evicted)

	timeless := *deny
	timeless.SetTime(0)
	add("deny without time", &timeless)
	return all
}

func newEncoder(t testing.TB, o format.Options) format.Encoder {
	t.Helper()
	o.Hostname = "fw1"
	e, err := format.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
