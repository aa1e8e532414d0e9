package worker

import (
	"unsafe"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/prefetch"
)

// fewAsked is about how many packets of a batch the hooks at the session site must have been asked, if memory is fetched for
// those of the next one: a worker that carries sessions, or a flow that is denied again and again, does not look for them.
const fewAsked = 4

// firsts are packets of a batch that look as if they began flows.
type firsts struct {
	packets  [packet.BatchSize]*hook.Packet
	outZones [packet.BatchSize]uint16 // by Packet.Place
	known    uint64                   // of which places, a bit each
}

// outZone returns the zone that the packet at hand goes to, if that was found out beforehand.
func (w *Worker) outZone(p *hook.Packet) (zone uint16, known bool) {
	i := p.Place % packet.BatchSize
	return w.firsts.outZones[i], w.firsts.known>>i&1 != 0 && p == &w.packets[i]
}

// findPrefetchers looks for them among the hooks of the rules that are taken.
func (w *Worker) findPrefetchers() {
	w.prefetchers = nil
	for _, h := range w.taken.Session {
		if p, ok := h.(hook.Prefetcher); ok {
			w.prefetchers = append(w.prefetchers, p)
		}
	}
}

// prefetch has fetched what will be read for the packets of the batch that begin flows, if the last batch had several: whether
// they were denied lately, and what the hooks at the session site want.
func (w *Worker) prefetch() {
	asked := w.asked
	w.asked, w.firsts.known = 0, 0
	if asked < fewAsked {
		return
	}
	n := 0
	for i := range w.batch.Frames[:w.batch.N] {
		p, k := &w.packets[i], &w.keys[i]
		if w.causes[i] != packet.OK || k.Found() || p.FragOff != 0 || p.ICMPError() || answers(p) {
			continue
		}
		prefetch.Pair(unsafe.Pointer(w.denials.at(k)))
		w.Sessions.PrefetchDropped(k)
		w.firsts.packets[n] = p
		n++
	}
	if n == 0 || len(w.prefetchers) == 0 {
		return
	}
	packets := w.firsts.packets[:n]
	for _, p := range packets {
		p.OutZone = w.egress(p)
		w.firsts.outZones[p.Place] = p.OutZone
		w.firsts.known |= 1 << p.Place
	}
	for _, h := range w.prefetchers {
		h.Prefetch(packets)
	}
	for _, p := range packets {
		p.OutZone = 0 // hooks before the session site do not know it
	}
}
