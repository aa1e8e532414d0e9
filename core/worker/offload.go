package worker

import (
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/session"
)

// cameUp is for a packet of a session of which the source could carry packets by itself. It has the source do so from here on if the
// session wants it and no hook has to see them.
func (w *Worker) cameUp(p *hook.Packet, hit *session.Hit) {
	own := hit.Flow != 0 && hit.Flow.Carrier() == w.Carrier
	if own {
		w.offloader.CameUp(hit.Flow.Number(), w.place)
	}
	if !hit.Carry || p.MorePackets != 0 || !w.spares(p) {
		return
	}
	if own {
		w.offloader.Resume(hit.Flow.Number())
		return
	}
	number := w.offloader.Offload(&p.Headers)
	if number == 0 {
		return
	}
	if w.Sessions.Carry(w.key, &p.Headers, p.Time, session.FlowOf(w.Carrier, number)) {
		w.offloader.Resume(number)
	} else {
		w.offloader.Forget(number)
	}
}

// spares reports whether no hook has to see packets like p.
func (w *Worker) spares(p *hook.Packet) bool {
	for _, hooks := range [...][]hook.Hook{w.Ingress, w.Egress} {
		for _, h := range hooks {
			if s, ok := h.(hook.Sparing); !ok || !s.Spares(p) {
				return false
			}
		}
	}
	return true
}
