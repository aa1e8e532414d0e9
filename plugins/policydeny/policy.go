package policydeny

import (
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// policy is what one policy matches beside zones, compiled.
type policy struct {
	src, dst addrs
	terms    []application.Term // nil = every application
}

// decision is what one policy, or the default, decides.
type decision struct {
	action  event.Action
	log     bool   // of a denial: make a record
	noOpen  bool   // of a permit
	noClose bool   // of a permit
	id      uint32 // in records
	timeout uint32 // of a permit, seconds; 0 = as the application has it
}

// gate is the cheap half of a policy: what a packet must have for the policy to be worth a look. Gates lie side by side in
// a chain, so that passing over a policy costs a compare or two and no cache line of its own.
type gate struct {
	need   features
	lo, hi uint16 // destination ports that some term may match
	policy uint16
}

// features are a packet's family and the class of its protocol, one bit each. A gate has a bit for everything its policy
// may match.
type features uint8

const (
	isIPv4 features = 1 << iota
	isIPv6
	isTCP
	isUDP
	isICMP
	isICMPv6
	isOther

	allProtocols = isTCP | isUDP | isICMP | isICMPv6 | isOther
)

func protocolClass(proto uint8) features {
	switch proto {
	case packet.ProtoTCP:
		return isTCP
	case packet.ProtoUDP:
		return isUDP
	case packet.ProtoICMP:
		return isICMP
	case packet.ProtoICMPv6:
		return isICMPv6
	default:
		return isOther
	}
}

// gateOf returns the gate of the policy of that number. It may let packets through that the policy does not match, never
// the reverse.
func gateOf(p *policy, number uint16) gate {
	g := gate{policy: number}
	if len(p.src.v4) > 0 && len(p.dst.v4) > 0 {
		g.need |= isIPv4
	}
	if len(p.src.v6) > 0 && len(p.dst.v6) > 0 {
		g.need |= isIPv6
	}
	if p.terms == nil {
		g.need |= allProtocols
		g.hi = 65535
		return g
	}
	g.lo = 65535
	for i := range p.terms {
		t := &p.terms[i]
		g.need |= protocolClass(t.Proto)
		g.lo, g.hi = min(g.lo, t.Dst.Lo), max(g.hi, t.Dst.Hi)
	}
	return g
}

// opens reports whether a packet with these features, each a bit of its kind, passes the gate.
func (g *gate) opens(f features, dstPort uint16) bool {
	return g.need&f == f && g.lo <= dstPort && dstPort <= g.hi
}

// flow is a packet's addresses as numbers, read once for all policies.
type flow struct {
	features   features
	src4, dst4 uint32
	src6, dst6 addr6
}

func (f *flow) read(h *packet.Headers) {
	f.features = protocolClass(h.Proto)
	if h.Family == packet.IPv4 {
		f.features |= isIPv4
		f.src4, f.dst4 = number4(&h.Src), number4(&h.Dst)
		return
	}
	f.features |= isIPv6
	f.src6, f.dst6 = number6(&h.Src), number6(&h.Dst)
}

// match reports whether the packet is one of the policy's, and the timeout of the application it belongs to.
func (p *policy) match(f *flow, h *packet.Headers) (timeout uint32, ok bool) {
	if p.terms != nil {
		for i := range p.terms {
			if p.terms[i].Match(h) {
				timeout, ok = p.terms[i].Timeout, true
				break
			}
		}
		if !ok {
			return 0, false
		}
	}
	if f.features&isIPv4 != 0 {
		return timeout, p.dst.has4(f.dst4) && p.src.has4(f.src4)
	}
	return timeout, p.dst.has6(f.dst6) && p.src.has6(f.src6)
}
