package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

// Info is what `pipelined spool ls` shows of a segment.
type Info struct {
	Name          string
	Epoch         uint64
	First, Last   event.Seq // Last < First: it holds no records
	Records, Left Tally     // of Records, those that are not acknowledged
	Bytes         int64
	Since, Until  int64 // times of the first and the last record, in Unix nanoseconds
	Sealed        bool  // nothing is appended any more
	Headless      bool  // its header cannot be read
}

// inspect opens the directory of a spool that is there, without keeping the daemon out. A directory that holds nothing
// of a spool is an error: that nothing waits in it would say nothing of the spool that was meant. Of one to which nothing was written yet
// its daemon keeps others out.
func inspect(path string) (d *onDisk, err error) {
	if d, err = openDir(path, false); err != nil {
		return nil, err
	}
	entries, err := d.ReadDir()
	switch {
	case err != nil || slices.ContainsFunc(entries, isOfSpool):
	case len(entries) == 0:
		if lock, inUse := d.Lock(); inUse == nil {
			err = errors.Join(fmt.Errorf("%s is empty: it is no spool", path), lock.Close())
		}
	default:
		err = fmt.Errorf("%s holds no spool%s", path, spoolsBelow(path, entries))
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// isOfSpool reports whether a file is one that a spool makes.
func isOfSpool(e fs.DirEntry) bool {
	_, _, segment := parseName(strings.TrimSuffix(e.Name(), brokenEnd))
	return segment || e.Name() == positionFile
}

// spoolsBelow names the directories among entries that hold spools.
func spoolsBelow(path string, entries []fs.DirEntry) string {
	var names []string
	for _, e := range entries {
		files, err := os.ReadDir(filepath.Join(path, e.Name()))
		if err == nil && slices.ContainsFunc(files, isOfSpool) {
			names = append(names, strconv.Quote(e.Name()))
		}
	}
	if names == nil {
		return ""
	}
	return "; in it there is one in " + strings.Join(names, ", ")
}

// List returns the segments of a spool, the oldest first. The daemon may use the spool meanwhile.
func List(path string) ([]Info, error) {
	d, err := inspect(path)
	if err != nil {
		return nil, err
	}
	defer shut(d)
	p, known, _ := readPosition(d)
	var list []Info
	err = each(d, func(g *segment) error {
		i := Info{
			Name: g.name(), Epoch: g.epoch, First: g.first, Last: g.last, Records: g.counts, Left: g.counts, Bytes: g.size, Since: g.since,
			Until: g.until, Sealed: g.sealed, Headless: g.headless,
		}
		switch {
		case known && g.before(place{p.number, p.epoch, p.seq}):
			i.Left = Tally{}
		case known && g.number == p.number:
			i.Left.sub(&p.released)
		}
		list = append(list, i)
		return nil
	})
	return list, err
}

// each calls f for every segment, the oldest first. One that is gone meanwhile is left out.
func each(d directory, f func(g *segment) error) error {
	names, err := d.List()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		number, epoch, ok := parseName(name)
		if !ok {
			continue
		}
		g, _, err := examine(d, number, epoch)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := f(g); err != nil {
			return err
		}
	}
	return nil
}

// Entry is a record of a spool, with its names and where it comes from.
type Entry struct {
	*event.Record

	Names *event.Names
	From  event.Origin
}

// Cat calls f for every record of a spool, in order: for those that are not acknowledged, or for all that are there. What an entry holds
// is valid during the call. The daemon may use the spool meanwhile.
func Cat(path string, all bool, f func(Entry) error) error {
	d, err := inspect(path)
	if err != nil {
		return err
	}
	defer shut(d)
	p, known, _ := readPosition(d)
	return each(d, func(g *segment) error {
		from := event.Seq(0)
		if known && !all {
			if g.before(place{p.number, p.epoch, p.seq}) {
				return nil
			}
			if g.epoch == p.epoch {
				from = p.seq + 1
			}
		}
		err := cat(d, g, from, f)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func cat(d directory, g *segment, from event.Seq, f func(Entry) error) error {
	file, err := openToRead(d, g.name())
	if err != nil {
		return err
	}
	defer shut(file)
	s := newScanner(file, g.number, g.epoch, g.size)
	s.from = from
	type known struct {
		names *event.Names
		from  event.Origin
	}
	names := make(map[uint32]known)
	var records []event.Record
	for {
		it, err := s.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		switch {
		case it.damage != nil:
		case it.kind == blockNames:
			if n, origin, err := event.DecodeNames(it.payload); err == nil {
				names[n.Generation] = known{n, origin}
			}
		case it.kind == blockRecords && it.payload != nil:
			if records, err = it.appendDecoded(records[:0], it.payload); err != nil {
				continue
			}
			k := names[it.generation]
			if k.names == nil {
				k = known{&event.Names{Generation: it.generation}, event.Origin{Epoch: g.epoch}}
			}
			for i := range records {
				if records[i].Seq() < from {
					continue
				}
				if err := f(Entry{&records[i], k.names, k.from}); err != nil {
					return err
				}
			}
		}
	}
}

// Problem is something in a spool that cannot be read.
type Problem struct {
	Name     string
	From, To int64 // offsets
	Lost     Tally // records, as far as that is known
	What     string

	tail bool // a write that has not ended
}

func (p *Problem) String() string {
	return fmt.Sprintf("%s: bytes %d to %d: %s, %d records", p.Name, p.From, p.To, p.What, p.Lost.Total())
}

// Verify reads all of a spool, and returns how many records can be read, and what cannot. The daemon may use the spool meanwhile: the
// end of its newest segment may be half written.
func Verify(path string) (records uint64, problems []Problem, err error) {
	d, err := inspect(path)
	if err != nil {
		return 0, nil, err
	}
	defer shut(d)
	err = each(d, func(g *segment) error {
		n, found, err := verify(d, g)
		records += n
		problems = append(problems, found...)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return records, problems, err
}

func verify(d directory, g *segment) (records uint64, problems []Problem, err error) {
	f, err := openToRead(d, g.name())
	if err != nil {
		return 0, nil, err
	}
	defer shut(f)
	switch {
	case g.headless && g.size < fileHeader:
		problems = append(problems, Problem{Name: g.name(), To: g.size, What: "never written whole", tail: true})
	case g.headless:
		problems = append(problems, Problem{Name: g.name(), To: fileHeader, What: "the header is damaged"})
	}
	s := newScanner(f, g.number, g.epoch, g.size)
	var out []event.Record
	for {
		it, err := s.next()
		if errors.Is(err, io.EOF) {
			return records, problems, nil
		}
		switch {
		case it.damage != nil:
			what := "damaged"
			if it.damage.tail && !g.sealed {
				what = "never written whole"
			}
			problems = append(problems, Problem{g.name(), it.damage.from, it.damage.to, it.damage.lost, what, it.damage.tail})
		case it.kind == blockRecords:
			if out, err = it.appendDecoded(out[:0], it.payload); err != nil {
				problems = append(problems, Problem{Name: g.name(), From: it.at, To: it.at + it.size(), Lost: it.own, What: err.Error()})
				continue
			}
			records += uint64(len(out))
		}
	}
}

// Repair cuts off what was never written whole, and rewrites segments in which something cannot be read: with a loss record in its
// place. What was there is kept under a name that ends in ".broken". The daemon, which does not need it, must not use the spool
// meanwhile. now reads the clock.
func Repair(path string, now func() time.Time) (repaired []Problem, err error) {
	there, err := inspect(path)
	if err != nil {
		return nil, err
	}
	shut(there)
	d, err := openDir(path, true)
	if err != nil {
		return nil, err
	}
	s, err := open(d, Config{Options: Options{Size: MinSize}, Now: now})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for _, g := range s.segments {
		_, problems, err := verify(d, g)
		if err != nil {
			return repaired, err
		}
		if len(problems) == 0 {
			continue
		}
		if err := s.rewrite(g); err != nil {
			return repaired, err
		}
		repaired = append(repaired, problems...)
	}
	return repaired, nil
}

// rewrite puts a segment without damage in the place of one.
func (s *Spool) rewrite(g *segment) error {
	f, err := openToRead(s.d, g.name())
	if err != nil {
		return err
	}
	defer shut(f)
	size, err := f.Size()
	if err != nil {
		return err
	}
	whole := make([]byte, size)
	if _, err := readAt(f, whole, 0); err != nil {
		return err
	}
	sum := salt(g.number, g.epoch)
	h := header{number: g.number, epoch: g.epoch, first: g.first, before: g.earlier}
	out, again := h.append(nil), &segment{number: g.number, epoch: g.epoch, last: g.first - 1}
	put := func(b block, payload []byte) {
		var at int
		out, at = begin(out)
		out = append(out, payload...)
		b.before = again.counts
		out = b.end(out, at, sum)
		again.counts.Add(&b.own)
		if b.kind == blockRecords {
			again.last, again.until = b.last(), b.time
		}
	}
	sc := newScanner(f, g.number, g.epoch, g.size)
	for {
		it, err := sc.next()
		if errors.Is(err, io.EOF) {
			break
		}
		lost, last := it.own, it.last()
		if d := it.damage; d != nil {
			if lost, last = d.lost, d.last; d.tail {
				lost, last = g.counts, g.last
				lost.sub(&sc.seen)
			}
		} else if it.kind == blockSeal {
			continue
		} else if _, err := it.appendDecoded(nil, it.payload); err == nil || it.kind == blockNames {
			put(it.block, it.payload)
			continue
		}
		if lost.Total() == 0 || last <= again.last {
			continue
		}
		var rec [1]event.Record
		rec[0].Reset(event.Loss)
		var counts event.LossCounts
		copy(counts[:], lost[:])
		rec[0].SetLoss(event.LossDamaged, 0, &counts, max(again.until, g.since), g.until)
		b := block{kind: blockRecords, first: last, time: g.until, records: 1}
		payload := appendRecords(make([]byte, 0, maxRecord), rec[:], &b.own)
		put(b, payload)
	}
	aside := g.name() + brokenEnd
	if err := s.replace(aside, whole); err != nil {
		return err
	}
	return s.replace(g.name(), append(out, again.seal()...))
}
