package worker

import (
	"math/bits"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// spares is which hooks at the ingress site need not see more packets of which flows, see [hook.Sparing]: most packets are ordinary ones
// of flows that no filter is about, and are let past all of them at the price of a lookup. It is a direct-mapped cache of fixed size, of
// one worker, that holds for the rules which are taken.
//
// A word is the lower 52 bits of a hash, of which the upper ones tell the place, and a bit for each hook. The hash is keyed: that another flow is
// taken for one that is spared nobody can bring about, and chance does it once in 2^64 pairs of flows.
type spares struct {
	hooks []hook.Sparing // those of the ingress site, nil = one that sees all packets; none if no hook spares any
	words [sparedSlots]uint64
}

const (
	sparedBits  = 14
	sparedSlots = 1 << sparedBits
	// asked is set in a word if the hooks were asked: when a second packet of the flow came.
	asked     = 1 << 11
	hookBits  = 12
	mostHooks = 11 // that have a bit
)

// take makes it that of other hooks.
func (s *spares) take(hooks []hook.Hook) {
	s.hooks = nil
	some := false
	for _, h := range hooks {
		spares, ok := h.(hook.Sparing)
		s.hooks = append(s.hooks, spares)
		some = some || ok
	}
	if !some || len(hooks) > mostHooks {
		s.hooks = nil
		return
	}
	clear(s.words[:])
}

// ordinary reports whether a packet is one that [hook.Sparing] may be asked about: neither at the beginning nor at the end of a connection.
func ordinary(h *packet.Headers) bool {
	const all, want = packet.FIN | packet.SYN | packet.RST | packet.ACK | packet.URG, packet.ACK
	return h.Plain && h.IPFlags&^packet.DontFragment == 0 && (h.Proto == packet.ProtoUDP || h.TCPFlags&all == want)
}

// ingress calls the hooks of the ingress site for the packet at hand, but for those that spare its flow.
func (w *Worker) ingress(p *hook.Packet) hook.Verdict {
	s := w.sparing
	if len(s.hooks) == 0 || !ordinary(&p.Headers) {
		return w.inspect(w.Ingress, p)
	}
	h := w.key.HashWith(uint64(p.Interface)<<32|uint64(p.InZone)<<16|uint64(p.VLAN), uint64(p.InnerVLAN)<<16|uint64(p.Leaves))
	word, flow := &s.words[h>>(64-sparedBits)], h<<hookBits
	switch {
	case *word&^(1<<hookBits-1) != flow:
		*word = flow // the hooks are asked about flows of several packets only: it takes about as long as judging one
		return w.inspect(w.Ingress, p)
	case *word&asked == 0:
		*word |= asked | s.ask(p)
	}
	for see := ^*word & (1<<len(s.hooks) - 1); see != 0; see &= see - 1 {
		i := bits.TrailingZeros64(see)
		if v := w.inspect(w.Ingress[i:i+1], p); v != hook.Pass {
			return v
		}
	}
	return hook.Pass
}

// ask returns which hooks need not see packets like p, as bits.
func (s *spares) ask(p *hook.Packet) (spare uint64) {
	for i, h := range s.hooks {
		if h != nil && h.Spares(p) {
			spare |= 1 << i
		}
	}
	return spare
}
