package screendrop

import (
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// beginnings are the screens for scans and sweeps of UDP, which has no flag that tells a question from an answer. They judge
// the first packets of flows, at the session site, before the policies if the hook is named before them: what belongs to a
// session, as the answers of a busy DNS server do, is no scan. Scans of TCP are told by SYN and those of ICMP by echo
// requests, whatever session they belong to.
type beginnings struct{ *screens }

var _ hook.SessionHook = beginnings{}

// Decide implements [hook.SessionHook].
func (b beginnings) Decide(p *hook.Packet, _ *hook.Permit, f *hook.Finding) hook.Verdict {
	if p.Proto != packet.ProtoUDP || !b.bound(p) {
		f.Remember = true
		return hook.Pass
	}
	screen, result := b.begin(p)
	return b.answer(p, screen, result, f)
}

// Denied implements [hook.SessionHook]. A screen counts the packets that it fires on, dropped or not, in Decide.
func (b beginnings) Denied(*hook.Packet, *hook.Finding) {}

func (b beginnings) begin(p *hook.Packet) (event.Screen, outcome) {
	source := b.source(p)
	if p.HasHead {
		if result := b.scan(b.udpScan, event.ScreenUDPPortScan, source, uint32(p.DstPort), p.Time); result != under {
			return event.ScreenUDPPortScan, result
		}
	}
	if result := b.sweep(b.udpSweep, event.ScreenUDPSweep, source, p); result != under {
		return event.ScreenUDPSweep, result
	}
	return none, under
}
