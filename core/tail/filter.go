package tail

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/sdk/event"
)

// Filter says which records somebody wants to see. What is empty lets all pass; of a list one is enough. Safe for concurrent use.
type Filter struct {
	Only      event.KindSet
	Zones     []string // of either side
	Rules     []string // a policy, a filter, a term of one, or a screen
	Addresses []netip.Prefix
	Ports     []uint16 // of either side
}

// Match reports whether a record passes. n are the names of its generation. Addresses and ports are also those that translation gives.
// A loss record has no rule, address or port: it passes only where none is asked for.
func (f *Filter) Match(r *event.Record, n *event.Names) bool {
	if f.Only != 0 && !f.Only.Has(r.Kind()) {
		return false
	}
	if len(f.Zones) > 0 && !f.zone(r, n) {
		return false
	}
	if r.Kind() == event.Loss {
		return len(f.Rules)+len(f.Addresses)+len(f.Ports) == 0
	}
	return (len(f.Addresses) == 0 || f.address(r)) && (len(f.Ports) == 0 || f.port(r)) && (len(f.Rules) == 0 || f.rule(r, n))
}

func (f *Filter) zone(r *event.Record, n *event.Names) bool {
	return slices.Contains(f.Zones, n.Zone(r.InZone())) || slices.Contains(f.Zones, n.Zone(r.OutZone()))
}

func (f *Filter) address(r *event.Record) bool {
	return f.contains(r.Src()) || f.contains(r.Dst()) || f.translated(r, func(a netip.AddrPort) bool { return f.contains(a.Addr()) })
}

func (f *Filter) contains(a netip.Addr) bool {
	return slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (f *Filter) port(r *event.Record) bool {
	return slices.Contains(f.Ports, r.SrcPort()) || slices.Contains(f.Ports, r.DstPort()) ||
		f.translated(r, func(a netip.AddrPort) bool { return slices.Contains(f.Ports, a.Port()) })
}

// translated reports whether one of the translated ends of a session is one that is asked for.
func (f *Filter) translated(r *event.Record, asked func(netip.AddrPort) bool) bool {
	if r.Kind() != event.SessionOpen && r.Kind() != event.SessionClose {
		return false
	}
	src, ok := r.NATSrc()
	if ok && asked(src) {
		return true
	}
	dst, ok := r.NATDst()
	return ok && asked(dst)
}

func (f *Filter) rule(r *event.Record, n *event.Names) bool {
	name, part := Rule(r, n)
	asked := func(name string) bool { return name != "" && slices.Contains(f.Rules, name) }
	return asked(name) || asked(part) || asked(strings.TrimSuffix(name, Global))
}

// Global stands behind the name of a policy for all zones, which may be asked for without it.
const Global = "(global)"

// Rule returns the name of what made an event: a policy, a screen, or a filter and its term. "" is nothing that has a name.
func Rule(r *event.Record, n *event.Names) (name, term string) {
	switch r.Kind() {
	case event.SessionOpen, event.SessionClose, event.PolicyDeny:
		return n.Policy(r.Policy()), ""
	case event.ScreenDrop:
		return r.Screen().String(), ""
	case event.FilterLog:
		return n.Term(r.Filter(), r.Term())
	default:
		return "", ""
	}
}
