package filterlog

import (
	"math/bits"
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

var (
	_ hook.Sparing = (*input)(nil)
	_ hook.Sparing = (*output)(nil)
)

// Spares implements [hook.Sparing].
func (in *input) Spares(p *hook.Packet) bool {
	_, attached := slices.BinarySearch(in.interfaces, p.Interface)
	return !in.everywhere && !attached || in.spares(p)
}

// Spares implements [hook.Sparing].
func (out *output) Spares(p *hook.Packet) bool {
	_, attached := slices.BinarySearch(out.zones, p.OutZone)
	return !attached || out.spares(p)
}

// spares reports whether every packet that is like p meets terms that accept, and neither count nor log, whatever is different in it.
func (f *filter) spares(p *hook.Packet) bool {
	if f.family != 0 && f.family != p.Family {
		return true
	}
	var a addresses
	for w := range f.words {
		always, some := f.alike(p, w, &a)
		for ; some != 0; some &= some - 1 {
			i := w*64 + bits.TrailingZeros64(some)
			t := &f.actions[i]
			if t.log || t.counter >= 0 || t.kind != accept && t.kind != nextTerm {
				return false
			}
			if t.kind == accept && some&-some&always != 0 {
				return true
			}
		}
	}
	return false
}

// alike returns which of the terms w*64 to w*64+63 match every packet that is like p, see [hook.Sparing], and which match some.
func (m *matcher) alike(p *hook.Packet, w int, a *addresses) (always, some uint64) {
	wd := &m.words[w]
	always, some = wd.terms, wd.terms
	h := &p.Headers
	ports := hasPorts(h)
	for i := range wd.fields {
		f := &wd.fields[i]
		every, any := ^f.care, ^f.care
		values := func(list ...uint32) {
			every, any = ^uint64(0), 0
			for _, v := range list {
				agree := f.agree(v)
				every, any = every&agree, any|agree
			}
		}
		switch f.id {
		case fieldProtocol:
			values(uint32(h.Proto))
		case fieldDstPort:
			values(dstPort(h, ports))
		case fieldSrcPort:
			values(srcPort(h, ports))
		case fieldTCPFlags:
			if values(noFlags); h.Proto == packet.ProtoTCP {
				values(packet.ACK, packet.ACK|packet.PSH)
			}
		case fieldICMPType, fieldICMPCode:
			values(noICMP)
		case fieldFragment:
			values(fragmentValue(0, false, 0), fragmentValue(packet.DontFragment, false, 0))
		case fieldFragOffset:
			values(0)
		default: // length, DSCP, TTL
			any = ^uint64(0)
		}
		always &= every
		some &= any
	}
	always = m.matchBeyond(p, wd, w, a, always)
	return always, m.matchBeyond(p, wd, w, a, some)
}
