package capture

import "github.com/rtflow/pipelined/core/packet"

// arenaSize is room for the frames of one batch. A full batch of the longest Ethernet frames needs a fifth of it; where
// captured packets are longer, batches are shorter.
const arenaSize = 2 * maxRecord

// stage is where a batch is put together: the memory of its frames.
type stage struct {
	arena []byte
	used  int
}

func newStage() stage { return stage{arena: make([]byte, arenaSize)} }

// full reports whether b takes no more frames.
func (s *stage) full(b *packet.Batch) bool {
	return b.N == packet.BatchSize || s.used > len(s.arena)-maxRecord
}

// put copies rec into b as a frame of that time. b is not full.
func (s *stage) put(b *packet.Batch, rec *record, time int64) {
	data := s.arena[s.used : s.used+len(rec.data) : s.used+len(rec.data)]
	copy(data, rec.data)
	s.used += len(data)
	b.Frames[b.N] = packet.Frame{Data: data, Wire: rec.wire, Time: time, Interface: rec.port, Link: rec.link}
	b.N++
}

// reset makes the room of a batch free again.
func (s *stage) reset() { s.used = 0 }
