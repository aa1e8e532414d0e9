package admission

import "github.com/rtflow/pipelined/sdk/event"

// AnnounceMissing puts the loss record for what a ring missed into that ring, when nothing else will come: the lanes
// have finished. It waits for room until stop is closed. One call per sink, by index, from any goroutine.
func (g *Gate) AnnounceMissing(i int, stop <-chan struct{}) {
	s := g.sinks[i]
	for s.missing.Load() {
		room := s.Ring.Room()
		if s.Ring.Acquire(event.Loss, 1) == 1 {
			var rec event.Record
			if s.takeMissing(&rec, g.generation) {
				s.Ring.Put(s.Ring.Claim(1), &rec)
				g.last[i].Add(1)
				s.Ring.Wake()
			} else {
				s.Ring.ReturnCredits(event.Loss, 1)
			}
			return
		}
		if s.Ring.Closed() {
			return
		}
		select {
		case <-room:
		case <-stop:
			return
		}
	}
}
