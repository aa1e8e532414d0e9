package spool

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/sdk/event"
)

// Endings of the names of files.
const (
	segmentEnd    = ".seg"
	brokenEnd     = ".broken"     // behind the name of a segment that was put aside
	unfinishedEnd = ".unfinished" // of a file that is not whole yet
)

// segment is one file of a spool.
type segment struct {
	number, epoch uint64
	first, last   event.Seq // the first number that it stands for, and that of its last record; last < first: it has none
	size          int64
	counts        Tally // of its records, those that cannot be read any more among them
	earlier       Tally // of the epoch in the segments before it
	missing       Tally // of counts: records of segments before it whose files are gone
	since, until  int64 // times of its first and last record, in Unix nanoseconds
	sealed        bool  // nothing is appended any more
	broken        bool  // something in it cannot be read
	ours          bool  // this run has written it
	headless      bool  // its own header cannot be read
	unread        bool  // the disk has refused to read something of it
	gone          bool  // somebody has removed its file while it was written
	closed        bool  // its file ends with a seal, which size counts

	released Tally // of counts
	evicting bool  // its records are being given up
}

func segmentName(number, epoch uint64) string {
	return fmt.Sprintf("%016x-%d%s", number, epoch, segmentEnd)
}

// name returns the name of its file.
func (g *segment) name() string { return segmentName(g.number, g.epoch) }

// before reports whether all of the segment is at or before a place.
func (g *segment) before(p place) bool {
	return g.number < p.number || g.epoch == p.epoch && g.last <= p.seq
}

// parseName reads the name of a segment's file.
func parseName(name string) (number, epoch uint64, ok bool) {
	name, ok = strings.CutSuffix(name, segmentEnd)
	hex, decimal, dash := strings.Cut(name, "-")
	if !ok || !dash || len(hex) != 16 {
		return 0, 0, false
	}
	number, err := strconv.ParseUint(hex, 16, 64)
	epoch, err2 := strconv.ParseUint(decimal, 10, 64)
	return number, epoch, err == nil && err2 == nil
}

// held returns how many of its records are not released.
func (g *segment) held() Tally {
	n := g.counts
	n.sub(&g.released)
	return n
}

// torn is what was cut off at the end of a segment whose writer did not end in order.
type torn struct {
	bytes   int64
	records uint64 // as far as that is known
}

// examine finds out what is in a segment. A seal says it; where there is none, everything is read. cut is how much of the file is of
// use, if its end is torn.
func examine(d directory, number, epoch uint64) (g *segment, cut torn, err error) {
	g = &segment{number: number, epoch: epoch}
	f, err := openToRead(d, g.name())
	if err != nil {
		return nil, cut, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for range tries {
		if g.size, err = f.Size(); err == nil {
			break
		}
	}
	if err != nil {
		return nil, cut, err
	}
	var head [fileHeader + blockHeader]byte
	n, _ := readAt(f, head[:], 0) // what cannot be read is damage
	var h header
	if h.decode(head[:n]) != nil || h.number != number || h.epoch != epoch {
		g.headless = true
		g.broken = n >= fileHeader
	}
	g.first, g.earlier = max(h.first, 1), h.before
	g.last = g.first - 1
	var b block
	if n == len(head) && b.decode(head[fileHeader:], salt(number, epoch)) {
		g.since = b.time
	}
	if g.size >= fileHeader+blockHeader && !g.headless {
		var end [blockHeader]byte
		n, _ := readAt(f, end[:], g.size-blockHeader)
		if b.decode(end[:n], salt(number, epoch)) && b.kind == blockSeal {
			g.counts, g.last, g.until, g.sealed, g.closed = b.before, b.first, b.time, true, true
			return g, cut, nil
		}
	}
	cut = g.read(f)
	return g, cut, nil
}

// read reads a whole segment that is not sealed.
func (g *segment) read(f io.ReaderAt) (cut torn) {
	s := newScanner(f, g.number, g.epoch, g.size)
	end, begun := min(int64(fileHeader), g.size), false
	for {
		it, err := s.next()
		if err != nil {
			break
		}
		if d := it.damage; d != nil && d.tail {
			cut = torn{d.to - d.from, d.lost.Total()}
			break
		} else if d != nil {
			g.broken = true
			continue
		}
		end = s.off
		if it.kind == blockNames {
			continue
		}
		if g.headless && !begun {
			g.first, g.last = it.first, it.first-1
		}
		begun = true
		if g.since == 0 {
			g.since = it.time
		}
		g.until = it.time
		g.sealed = it.kind == blockSeal
		g.closed = g.sealed
	}
	if s.failed {
		g.sealed, g.unread, cut = true, true, torn{} // nothing is cut off that another disk might read
	} else {
		g.size = end
	}
	g.counts = s.seen
	if s.seen.Total() > 0 {
		g.last = max(g.last, s.last)
	}
	return cut
}

// seal returns the block that ends the segment.
func (g *segment) seal() []byte {
	b, at := begin(nil)
	h := block{kind: blockSeal, first: g.last, time: g.until, before: g.counts}
	h.before.sub(&g.missing)
	return h.end(b, at, salt(g.number, g.epoch))
}

// close cuts a segment of an earlier run where its use ends, and seals it.
func (g *segment) close(d directory) error {
	err := g.writeSeal(d)
	if err == nil {
		g.size += blockHeader
		g.sealed, g.closed = true, true
	}
	return err
}

// writeSeal cuts the file where its use ends, and seals it.
func (g *segment) writeSeal(d directory) error {
	f, err := d.Open(g.name(), true)
	if err != nil {
		return err
	}
	if err = f.Truncate(g.size); err == nil {
		if _, err = f.WriteAt(g.seal(), g.size); err == nil {
			err = f.Sync()
		}
	}
	return errors.Join(err, f.Close())
}
