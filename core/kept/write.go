package kept

import (
	"encoding/binary"
	"encoding/json"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/statedir"
	"github.com/rtflow/pipelined/sdk/event"
)

// Types of frames.
const (
	headFrame = 1 + iota
	namesFrame
	recordsFrame // u16 index of the sink, records
	sessionsFrame
	droppedFrame // flows of which the first packet was dropped
	sourceFrame  // u16 index of the source, piece
	tailFrame
)

// Content is what there is to keep. Nobody changes any of it meanwhile.
type Content struct {
	Head
	Names   []Names         // those that records have, the last are those of sessions
	Rings   []*replay.Ring  // of Head.Sinks, frozen at their positions
	Table   *session.Table  // nil: no packets
	Sources []source.Keeper // of Head.Sources
}

// recordsChunk is how many bytes of records stand in a frame, about.
const recordsChunk = 1 << 16

// Write puts it on the disk, in the place of what was kept before.
func (c *Content) Write(dir *statedir.Dir) (Tail, error) {
	var tail Tail
	c.Versions = versions()
	err := dir.WriteKept(func(w *statedir.FrameWriter) error {
		tail = Tail{Ends: []uint64{}}
		if err := put(w, headFrame, &c.Head); err != nil {
			return err
		}
		for i := range c.Names {
			if err := put(w, namesFrame, &c.Names[i]); err != nil {
				return err
			}
		}
		for i, r := range c.Rings {
			tail.Records += writeRing(w, i, r)
		}
		if c.Table != nil {
			tail.Sessions = uint64(c.Table.Stats().Active)
			c.Table.Kept(func(sessions []byte) bool { return w.Frame(sessionsFrame, sessions) == nil })
			_ = w.Frame(droppedFrame, c.Table.KeptDropped(nil)) // the writer keeps its error
		}
		for i, s := range c.Sources {
			head := binary.LittleEndian.AppendUint16(nil, uint16(i))
			var b []byte
			tail.Ends = append(tail.Ends, s.Keep(func(piece []byte) bool {
				b = append(append(b[:0], head...), piece...)
				return w.Frame(sourceFrame, b) == nil
			}))
		}
		return put(w, tailFrame, &tail)
	})
	return tail, err
}

// put writes a frame of JSON.
func put(w *statedir.FrameWriter, kind uint8, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.Frame(kind, b)
}

func writeRing(w *statedir.FrameWriter, i int, r *replay.Ring) (n uint64) {
	head := binary.LittleEndian.AppendUint16(nil, uint16(i))
	b := append([]byte(nil), head...)
	r.Held(func(rec *event.Record, unanswered, rejected bool) bool {
		n++
		b = replay.AppendHeld(b, rec, unanswered, rejected)
		if len(b) < recordsChunk {
			return true
		}
		err := w.Frame(recordsFrame, b)
		b = b[:len(head)]
		return err == nil
	})
	if len(b) > len(head) {
		_ = w.Frame(recordsFrame, b) // the writer keeps its error
	}
	return n
}
