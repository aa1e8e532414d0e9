package worker

import (
	"math/bits"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/session"
)

// denial is what the hooks at the session site have said of a packet that they do not let pass.
type denial struct {
	finding hook.Finding
	verdict hook.Verdict
	by      uint8 // the hook that denied it, by its place in Config.Session
	others  uint8 // hooks before it that have to see every packet of the flow, a bit each
}

// rememberedHooks is how many hooks have a bit in denial.others. What a later one denies is not remembered.
const rememberedHooks = 8

// denials remembers which flows the hooks at the session site have denied lately, so that the packets of a storm cost a
// lookup each, whatever the policies are. It is a direct-mapped cache of fixed size: a newer flow takes the place of an older
// one. It is cleared when the worker takes over other rules, so that what is remembered was decided by the same ones. What
// becomes of a remembered packet is otherwise as if its denial had just been decided.
type denials struct{ slots [denialSlots]denialSlot }

const (
	// denialSlots is a power of two: 2,048 slots of two cache lines take 256 KiB.
	denialSlots = 2048
	denialLife  = int64(60e9)
)

// denialSlot is one flow in one direction, with all that the hooks may have decided by, see [hook.Finding]. Its key without a
// domain is that of no packet.
type denialSlot struct {
	key                session.Key
	time               int64
	denial             denial
	inZone, leaves     uint16
	outZone, app       uint16
	icmpType, icmpCode uint8
	hasHead            bool
	_                  [9]byte
}

// at returns the slot for the flow of a key.
func (d *denials) at(k *session.Key) *denialSlot { return &d.slots[k.Hash()%denialSlots] }

// holds reports whether the slot is that of the packet's flow and direction.
func (s *denialSlot) holds(k *session.Key, p *hook.Packet) bool {
	return s.key.Equal(k) && s.inZone == p.InZone && s.leaves == p.Leaves && s.icmpType == p.ICMPType &&
		s.icmpCode == p.ICMPCode && s.hasHead == p.HasHead && p.Time-s.time <= denialLife
}

// remember makes the slot that of a packet.
func (s *denialSlot) remember(k *session.Key, p *hook.Packet, d *denial) {
	*s = denialSlot{
		key: *k, time: p.Time, denial: *d, inZone: p.InZone, leaves: p.Leaves, outZone: p.OutZone, app: p.App,
		icmpType: p.ICMPType, icmpCode: p.ICMPCode, hasHead: p.HasHead,
	}
}

// judge finds the zone and the application that the first packet of a flow goes to, and asks the policies about it unless
// they have denied the flow lately. It returns their denial, valid until they are asked again, or nil.
func (w *Worker) judge(p *hook.Packet) *denial {
	s, known := w.denials.at(w.key), w.current == w.taken // what is remembered was decided by those
	if known && s.holds(w.key, p) {
		p.OutZone, p.App = s.outZone, s.app
		// A hook that has to see every packet may deny it first.
		for others := s.denial.others; others != 0; others &= others - 1 {
			if w.ask(bits.TrailingZeros8(others), p) != hook.Pass {
				return &w.denial
			}
		}
		return &s.denial
	}
	w.asked++
	if zone, known := w.outZone(p); known {
		p.OutZone = zone
	} else {
		p.OutZone = w.egress(p)
	}
	p.App = w.service(p)
	if w.decide(p) == hook.Pass {
		return nil
	}
	if known && w.denial.finding.Remember {
		s.remember(w.key, p, &w.denial)
	}
	return &w.denial
}

// decide asks the policies about the first packet of a flow. What they say is in w.permit, or of a packet that does not pass
// in w.denial.
func (w *Worker) decide(p *hook.Packet) hook.Verdict {
	w.permit = hook.Permit{}
	others := uint8(0)
	for i := range w.Session {
		if v := w.ask(i, p); v != hook.Pass {
			w.denial.others = others
			w.denial.finding.Remember = w.denial.finding.Remember && i < rememberedHooks
			return v
		}
		if f := &w.denial.finding; !f.Remember || f.Found {
			others |= 1 << i
		}
	}
	if w.Unlogged {
		w.permit.NoOpen, w.permit.NoClose = true, true
	}
	return hook.Pass
}

// ask asks one hook at the session site.
func (w *Worker) ask(i int, p *hook.Packet) hook.Verdict {
	d := &w.denial
	d.finding, d.by = hook.Finding{}, uint8(i)
	d.verdict = w.Session[i].Decide(p, &w.permit, &d.finding)
	if d.verdict == hook.Pass && d.finding.Found { // reported and let pass, as screens do with alarm-without-drop
		w.offer(p, &d.finding, 0)
	}
	return d.verdict
}

// publishDenied has others see what the hooks at the session site have counted since.
func (w *Worker) publishDenied() {
	if !w.anyDenied {
		return
	}
	w.anyDenied = false
	for _, h := range w.Session {
		if p, ok := h.(hook.Publisher); ok {
			p.Publish(w.Index)
		}
	}
}

// denied carries out the denial of a packet.
func (w *Worker) denied(p *hook.Packet, d *denial) {
	w.Session[d.by].Denied(p, &d.finding)
	w.anyDenied = true
	w.flowDropped(p)
	if d.finding.Found {
		w.offer(p, &d.finding, w.nextID)
		w.useID()
	}
}
