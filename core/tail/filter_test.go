package tail

import (
	"net/netip"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

func names() *event.Names {
	return &event.Names{
		Zones: map[uint16]string{1: "lan", 2: "wan"}, Policies: []string{"", "no-telnet", "last(global)"},
		Filters: []event.Filter{{}, {Name: "edge", Terms: []string{"first", "rest"}}},
	}
}

// record is one of 10.0.0.5:4000 to 192.0.2.80:443, from lan to wan.
func record(k event.Kind, change func(*event.Record)) *event.Record {
	r := new(event.Record)
	r.Reset(k)
	src, dst := netip.MustParseAddr("10.0.0.5").As16(), netip.MustParseAddr("192.0.2.80").As16()
	if k != event.Loss {
		copy(src[:], src[12:])
		copy(dst[:], dst[12:])
		r.SetFlow(event.FamilyIPv4, 6, &src, &dst, 4000, 443)
		r.SetZones(1, 2)
	}
	if change != nil {
		change(r)
	}
	return r
}

func TestFilter(t *testing.T) {
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	deny := record(event.PolicyDeny, func(r *event.Record) { r.SetDeny(1, 7, 0) })
	open := record(event.SessionOpen, func(r *event.Record) {
		r.SetPolicy(1)
		src, dst := [16]byte{203, 0, 113, 9}, [16]byte{192, 0, 2, 80}
		r.SetNAT(&src, &dst, 61000, 443)
	})
	filter := record(event.FilterLog, func(r *event.Record) { r.SetFilter(1, 1, 0, 0, 0) })
	screen := record(event.ScreenDrop, func(r *event.Record) { r.SetScreen(event.ScreenLand) })
	global := record(event.PolicyDeny, func(r *event.Record) { r.SetDeny(2, 7, 0); r.SetZones(3, 3) })
	lost := record(event.Loss, func(r *event.Record) { r.SetLoss(event.LossRateLimited, 1, &event.LossCounts{2: 9}, 1, 2) })
	for name, c := range map[string]struct {
		f    Filter
		want []*event.Record
	}{
		"all":             {Filter{}, []*event.Record{deny, open, filter, screen, lost, global}},
		"kinds":           {Filter{Only: event.KindSet(0).With(event.PolicyDeny).With(event.Loss)}, []*event.Record{deny, lost, global}},
		"a zone":          {Filter{Zones: []string{"nowhere", "lan"}}, []*event.Record{deny, open, filter, screen, lost}},
		"the other zone":  {Filter{Zones: []string{"wan"}}, []*event.Record{deny, open, filter, screen}},
		"no zone":         {Filter{Zones: []string{"nowhere"}}, nil},
		"a policy":        {Filter{Rules: []string{"no-telnet"}}, []*event.Record{deny, open}},
		"a global policy": {Filter{Rules: []string{"last"}}, []*event.Record{global}},
		"its whole name":  {Filter{Rules: []string{"last(global)"}}, []*event.Record{global}},
		"a filter":        {Filter{Rules: []string{"edge"}}, []*event.Record{filter}},
		"a term":          {Filter{Rules: []string{"rest"}}, []*event.Record{filter}},
		"another term":    {Filter{Rules: []string{"first"}}, nil},
		"a screen":        {Filter{Rules: []string{event.ScreenLand.String()}}, []*event.Record{screen}},
		"no name":         {Filter{Rules: []string{""}}, nil},
		"a source":        {Filter{Addresses: prefix("10.0.0.0/8")}, []*event.Record{deny, open, filter, screen, global}},
		"a destination":   {Filter{Addresses: prefix("192.0.2.80/32")}, []*event.Record{deny, open, filter, screen, global}},
		"a translation":   {Filter{Addresses: prefix("203.0.113.9/32")}, []*event.Record{open}},
		"another address": {Filter{Addresses: prefix("fd00::/8")}, nil},
		"a port":          {Filter{Ports: []uint16{443}}, []*event.Record{deny, open, filter, screen, global}},
		"a NAT port":      {Filter{Ports: []uint16{61000}}, []*event.Record{open}},
		"all of them": {
			Filter{Only: event.AllKinds, Zones: []string{"lan"}, Rules: []string{"no-telnet"}, Addresses: prefix("10.0.0.5/32"), Ports: []uint16{4000}},
			[]*event.Record{deny, open},
		},
		"not all of them": {Filter{Rules: []string{"no-telnet"}, Ports: []uint16{80}}, nil},
	} {
		for _, r := range []*event.Record{deny, open, filter, screen, lost, global} {
			want := false
			for _, w := range c.want {
				want = want || w == r
			}
			if got := c.f.Match(r, names()); got != want {
				t.Errorf("%s: %v passes: %v, want %v", name, r.Kind(), got, want)
			}
		}
	}
}
