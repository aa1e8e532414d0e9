package spool

import (
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// Segments of a spool: as many as make the eviction of one a small part of the whole, as large as can be read in one go.
const (
	segmentsPerSpool = 16
	minSegment       = 64 << 10
	maxSegment       = 64 << 20
)

// reserved is for how many records at least the position says ahead that the sink may have them.
const reserved = 16384

// remembered is how many of the newest records stay in memory, a power of two: some 180 bytes each.
const remembered = 16384

// Config is what a spool is built from.
type Config struct {
	Options
	Name string       // of the sink, for the log
	Host string       // of this node, as lines of syslog name it
	Log  *slog.Logger // nil discards
	// Evict gives up the oldest records where there is no room for new ones, which wait in the ring otherwise.
	Evict bool
	// Window is how many records the sink may have in hand at most: as many as its ring has slots.
	Window int
	// Now reads the clock.
	Now func() time.Time

	// For tests; 0 stands for the usual.
	segment  int64 // bytes of a segment
	remember int   // records in memory, a power of two
	reserve  int   // numbers reserved at least
}

// Spool keeps the records of one sink on a disk. One goroutine runs Run, and one, the reader, calls Next, Sleep, Drained and Rewind.
// All other methods are safe for concurrent use.
type Spool struct {
	c        Config
	evicts   atomic.Bool // see Config.Evict
	d        directory
	ring     *replay.Ring
	epoch    uint64
	names    func(generation uint32) *event.Names
	highest  uint64 // epoch ever used
	segment  int64  // bytes after which a segment is full
	w        writer
	pos      positionWriter
	tidying  sync.Mutex
	keeping  sync.WaitGroup
	stopping chan struct{} // closed by Close
	tick     chan struct{} // wakes the keeper; holds one token
	space    chan struct{} // wakes the writer that waits for room; holds one token

	waiting atomic.Bool   // the reader is about to sleep or asleep
	wake    chan struct{} // holds one token

	mu       sync.Mutex
	segments []*segment // the oldest first, those that are released not among them
	done     []*segment // released, and their files not removed yet
	aside    []aside    // files that were put aside, the oldest first
	used     int64      // bytes of all files
	next     uint64     // number of the next segment
	tail     tail
	floor    place  // everything up to here is released
	since    int64  // about the time of the record behind floor, if that is in the same segment; never later, 0 if not known
	handed   uint64 // the highest number of a segment of which the sink was ever given anything
	noted    uint64 // the same, as the position on the disk says it
	unnoted  bool   // the disk does not take it
	ahead    reservation
	unsealed *segment // its seal is to be written again
	cursor   place    // the last record handed out since the last Rewind
	active   bool     // cursor is in use: the sink has asked since the last Rewind
	stream   uint64
	out      outstanding
	taken    uint64 // records acknowledged or rejected
	written  bool   // the ring is drained, and all of it is here
	changed  bool   // the position is to be written
	room     chan struct{}
	counts   Counts
	state    state
	reader   reader
}

// place is a record of a segment.
type place struct {
	number uint64
	epoch  uint64
	seq    event.Seq
}

// aside is a file that nobody reads any more.
type aside struct {
	name string
	size int64
}

// Counts count records by kind, for the sums.
type Counts struct {
	// Found are records that earlier runs have left, and loss records that the spool has made.
	Found Tally
	// Spooled are records that were taken from the ring.
	Spooled Tally
	// Acknowledged, Rejected, Evicted and Damaged are records that have left: the sink's acknowledgement, its rejection, given up for
	// newer ones, unreadable.
	Acknowledged, Rejected, Evicted, Damaged Tally
}

// Add adds what another spool has counted.
func (c *Counts) Add(o *Counts) {
	c.Found.Add(&o.Found)
	c.Spooled.Add(&o.Spooled)
	c.Acknowledged.Add(&o.Acknowledged)
	c.Rejected.Add(&o.Rejected)
	c.Evicted.Add(&o.Evicted)
	c.Damaged.Add(&o.Damaged)
}

// Open opens the spool in a directory, which it makes if it is not there. Nobody else may have it open.
func Open(c Config) (*Spool, error) {
	d, err := openDir(c.Path, true)
	if err != nil {
		return nil, err
	}
	s, err := open(d, c)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return s, nil
}

func open(d directory, c Config) (*Spool, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("sink", c.Name)
	s := &Spool{
		c: c, d: d, segment: c.segment, pos: positionWriter{d: d}, stopping: make(chan struct{}),
		tick: make(chan struct{}, 1), space: make(chan struct{}, 1), wake: make(chan struct{}, 1), next: 1,
	}
	if s.segment == 0 {
		s.segment = min(max(int64(c.Size)/segmentsPerSpool, minSegment), maxSegment)
	}
	if c.remember == 0 {
		s.c.remember = remembered
	}
	if c.reserve == 0 {
		s.c.reserve = reserved
	}
	s.evicts.Store(c.Evict)
	s.out.limit = max(c.Window, 1)
	s.reader.s = s
	s.w.s = s
	if err := s.recover(); err != nil {
		return nil, err
	}
	return s, nil
}

// recover finds out what earlier runs have left. The only error is that of a directory that cannot be listed.
func (s *Spool) recover() error {
	s.used = slotAt + slotSize // the position
	names, err := s.d.List()
	if err != nil {
		return err
	}
	p, known, lost := readPosition(s.d)
	if lost {
		s.c.Log.Warn("the spool's position cannot be read: what was delivered is delivered again")
	}
	s.pos.last, s.highest = p, p.highest
	s.floor = place{p.number, p.epoch, p.seq}
	s.handed, s.noted = p.handed, p.handed
	slices.Sort(names)
	for _, name := range names {
		s.find(name, p, known)
	}
	s.mend()
	if known {
		s.next = max(s.next, p.number+1, p.handed+1)
	}
	s.findMissing(known)
	s.findSince()
	for _, g := range s.segments {
		held := g.held()
		s.counts.Found.Add(&held)
	}
	if n := s.counts.Found.Total(); n > 0 {
		s.c.Log.Info("the spool holds records of earlier runs", "records", n, "bytes", s.used)
	}
	s.settle()
	return nil
}

// find takes a file into account.
func (s *Spool) find(name string, p position, known bool) {
	number, epoch, ok := parseName(name)
	if !ok {
		s.other(name)
		return
	}
	s.next, s.highest = max(s.next, number+1), max(s.highest, epoch)
	g, cut, err := examine(s.d, number, epoch)
	if err != nil {
		s.c.Log.Error("a segment of the spool cannot be read", "file", name, "err", err)
		s.counterUp(&s.state.errors)
		if g == nil {
			return
		}
	}
	if cut.bytes > 0 {
		s.state.tornBytes += uint64(cut.bytes)
		s.state.tornRecords += cut.records
		s.c.Log.Warn("the end of a segment was never written whole, and is cut off", "file", name, "bytes", cut.bytes, "records", cut.records)
	}
	if !g.sealed && g.counts.Total() > 0 {
		if err := g.close(s.d); err != nil {
			s.c.Log.Warn("a segment cannot be closed; it is read all the same", "file", name, "err", err)
			g.sealed = true
		}
	}
	s.used += g.size
	at := place{p.number, p.epoch, p.seq}
	if known && g.before(at) || g.counts.Total() == 0 {
		s.done = append(s.done, g)
		return
	}
	switch {
	case !known || epoch != p.epoch || p.seq < g.first:
	case number == p.number:
		g.released = p.released
	default: // what the sink has was written for the second time
		g.released = s.countThrough(g, p.seq)
	}
	s.segments = append(s.segments, g)
}

// countThrough counts the records of a segment up to a number.
func (s *Spool) countThrough(g *segment, last event.Seq) (n Tally) {
	for rec := range s.records(g, 0) {
		if rec.Seq() > last {
			break
		}
		n[rec.Kind()]++
	}
	return n
}

// records reads the records of a segment that have at least that number, as far as they can be read.
func (s *Spool) records(g *segment, from event.Seq) iter.Seq[*event.Record] {
	return func(yield func(*event.Record) bool) {
		f, err := openToRead(s.d, g.name())
		if err != nil {
			return
		}
		defer shut(f)
		sc := newScanner(f, g.number, g.epoch, g.size)
		sc.from = from
		var records []event.Record
		for {
			it, err := sc.next()
			if err != nil {
				return
			}
			if it.damage != nil || it.kind != blockRecords || it.payload == nil {
				continue
			}
			records, _ = it.appendDecoded(records[:0], it.payload) // what is malformed is left out
			for i := range records {
				if records[i].Seq() >= from && !yield(&records[i]) {
					return
				}
			}
		}
	}
}

// findSince reads the time of the oldest record that is not released where the beginning of its segment is released.
func (s *Spool) findSince() {
	if len(s.segments) == 0 || !s.entered(s.segments[0]) {
		return
	}
	for rec := range s.records(s.segments[0], s.floor.seq+1) {
		s.since = rec.Time()
		break
	}
}

// entered reports whether floor is in a segment. The lock is held.
func (s *Spool) entered(g *segment) bool { return g.epoch == s.floor.epoch && g.first <= s.floor.seq }

// other takes a file into account that is no segment.
func (s *Spool) other(name string) {
	switch {
	case strings.HasSuffix(name, unfinishedEnd):
		if err := s.d.Remove(name); err != nil {
			s.c.Log.Warn("a file that a crash has left cannot be removed", "file", name, "err", err)
		}
	case strings.HasSuffix(name, brokenEnd):
		if size, err := sizeOf(s.d, name); err == nil {
			s.aside = append(s.aside, aside{name, size})
			s.used += size
		}
	}
}

func sizeOf(d directory, name string) (size int64, err error) {
	f, err := openToRead(d, name)
	if err != nil {
		return 0, err
	}
	size, err = f.Size()
	return size, errors.Join(err, f.Close())
}

// mend removes what stands in two segments: a crash has come between two steps of an eviction, or of a write that was repeated.
func (s *Spool) mend() {
	for i := 0; i+1 < len(s.segments); {
		g, after := s.segments[i], s.segments[i+1]
		switch {
		case g.epoch != after.epoch || g.last < after.first || after.headless:
			i++
		case after.first <= g.first:
			s.done = append(s.done, g)
			s.segments = slices.Delete(s.segments, i, i+1)
			i = max(i-1, 0)
		default:
			s.shorten(g, after.first)
			if g.counts.Total() > 0 {
				i++
				continue
			}
			s.done = append(s.done, g) // its beginning could not be read, and nor is there anything that the next one does not have
			s.segments = slices.Delete(s.segments, i, i+1)
			i = max(i-1, 0)
		}
	}
}

// shorten cuts a segment where the next one begins.
func (s *Spool) shorten(g *segment, before event.Seq) {
	f, err := openToRead(s.d, g.name())
	if err != nil {
		return
	}
	defer shut(f)
	sc := newScanner(f, g.number, g.epoch, g.size)
	end, counts, last := int64(fileHeader), Tally{}, g.first-1
	for {
		it, err := sc.next()
		if err != nil || it.kind == blockSeal || it.kind == blockRecords && it.last() >= before {
			break
		}
		if d := it.damage; d != nil && (d.tail || d.last >= before) { // the next one has these records
			break
		}
		end, counts, last = sc.off, sc.seen, max(sc.last, last)
	}
	s.used -= g.size - end
	g.size, g.counts, g.last, g.sealed = end, counts, last, false
	if err := g.close(s.d); err != nil {
		s.c.Log.Warn("a segment cannot be cut; it is read as if it were", "file", g.name(), "err", err)
		g.sealed = true
	}
	s.used += g.size - end
}

// findMissing finds out what was in segments whose files are gone: the headers of the next ones count it. known says whether there is a
// position.
func (s *Spool) findMissing(known bool) {
	for i, after := range s.segments {
		var g segment // before it; none of an epoch of which nothing is delivered
		switch {
		case i > 0 && s.segments[i-1].epoch == after.epoch:
			g = *s.segments[i-1]
		case !known || s.floor.epoch == after.epoch:
			continue
		}
		if g.headless || after.headless || isLoss(&g) || after.first <= g.last+1 {
			continue
		}
		missing := after.earlier
		missing.sub(&g.earlier)
		missing.sub(&g.counts)
		if missing.Total() == 0 {
			continue
		}
		after.missing = missing
		after.counts.Add(&missing)
		s.c.Log.Error("files of the spool are gone; a loss record says what was in them", "before", after.name(), "records", missing.Total())
	}
}

// Path returns the directory of the files.
func (s *Spool) Path() string { return s.c.Path }

// Last returns the number of the last record that the spool has had of an epoch, as far as it knows; 0 if it knows none. Safe for concurrent
// use.
func (s *Spool) Last(epoch uint64) (last event.Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastOf(epoch)
}

// lastOf is Last. The lock is held.
func (s *Spool) lastOf(epoch uint64) (last event.Seq) {
	if s.floor.epoch == epoch {
		last = s.floor.seq
	}
	for _, g := range s.segments {
		if g.epoch == epoch {
			last = max(last, g.last)
		}
	}
	return last
}

// HighestEpoch returns the highest epoch that the spool has ever had, 0 if none. It is called before Begin.
func (s *Spool) HighestEpoch() uint64 { return s.highest }

// Begin says which epoch the records of the ring have, and where their names are. It is called once, before everything else.
func (s *Spool) Begin(ring *replay.Ring, epoch uint64, names func(generation uint32) *event.Names) {
	s.begin(ring, epoch, names)
	s.keeping.Go(s.keep)
}

func (s *Spool) begin(ring *replay.Ring, epoch uint64, names func(generation uint32) *event.Names) {
	s.ring, s.epoch, s.names = ring, epoch, names
	s.mu.Lock()
	s.highest = max(s.highest, epoch)
	s.conclude()
	s.tail = newTail(s.c.remember)
	if len(s.segments) > 0 {
		if last := s.segments[len(s.segments)-1]; last.epoch == epoch { // a run that goes on with the epoch of the last
			s.tail.before = last.last
			s.w.earlier = last.earlier
			s.w.earlier.Add(&last.counts)
		}
	}
	s.w.last, s.w.published = s.tail.before, s.tail.before
	s.ahead.at = s.tail.before
	s.stream = s.streamHere()
	s.changed = true
	s.passOver()
	s.mu.Unlock()
	s.tidy(false) // while there is room for the position
}

// passOver takes from the ring what is in the spool already: a write that ended after the last run had handed its ring over. It is
// counted as taken from the ring, and not as found. The lock is held.
func (s *Spool) passOver() {
	for {
		records := s.ring.Next(maxBlock)
		n := sort.Search(len(records), func(i int) bool { return records[i].Seq() > s.w.last })
		if n == 0 {
			break
		}
		var over Tally
		for i := range records[:n] {
			over[records[i].Kind()]++
		}
		if s.ring.Ack(records[n-1].Seq()) != nil {
			break // it was handed out, and nothing has frozen the ring
		}
		s.counts.Spooled.Add(&over)
		s.counts.Found.sub(&over)
		s.w.earlier.sub(&over) // it is added to what is spooled
	}
	s.ring.Rewind()
}

// SetEvict changes [Config.Evict]. Safe for concurrent use.
func (s *Spool) SetEvict(evict bool) {
	s.evicts.Store(evict)
	signal(s.space)
}

// SetWindow changes [Config.Window]. What the sink has in hand beyond a smaller one stays there. Safe for concurrent use.
func (s *Spool) SetWindow(records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.limit = max(records, 1)
	s.wakeReader()
}

// Close ends the keeper and writes where the sink is. Run and the reader have ended.
func (s *Spool) Close() error {
	close(s.stopping)
	s.keeping.Wait()
	err := s.w.close()
	s.tidy(true)
	return errors.Join(err, s.pos.close(), s.d.Close())
}

// State is a snapshot of a spool.
type State struct {
	Counts

	Held Tally // counted segment by segment, independently of the counters
	// Out is how many records the sink has in hand.
	Out uint64
	// Unsent is how many records it was not handed since its run began.
	Unsent uint64
	// OldestTime is about the time of the oldest record held, in Unix nanoseconds; 0 if there is none.
	OldestTime int64
	Epoch      uint64    // of the stream that the sink gets
	Sent       event.Seq // of that stream, the last record handed out
	Acked      event.Seq // of that stream, the last record released
	Bytes      int64     // of all files
	Size       int64     // bytes that they may take
	Segments   int
	Aside      int // files that were put aside

	TornBytes, TornRecords uint64 // cut off at the start
	Errors, Slow           uint64 // operations that have failed, that have taken more than a second
	Full                   string // why no record fits just now; "" if one does
	LastError              string
}

// state is what an operator is told, under Spool.mu but for what the counters count.
type state struct {
	tornBytes, tornRecords uint64
	errors, slow           uint64
	full                   string
	lastError              string
	failing                bool
}

// State counts what the spool holds. Safe for concurrent use.
func (s *Spool) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{
		Counts: s.counts, Out: uint64(s.out.len()), Epoch: s.stream, Bytes: s.used, Size: int64(s.c.Size), Segments: len(s.segments), Aside: len(s.aside),
		TornBytes: s.state.tornBytes, TornRecords: s.state.tornRecords, Errors: s.state.errors, Slow: s.state.slow,
		Full: s.state.full, LastError: s.state.lastError,
	}
	for _, g := range s.segments {
		held := g.held()
		if st.OldestTime == 0 && held.Total() > 0 {
			st.OldestTime = s.oldest(g)
		}
		st.Held.Add(&held)
	}
	st.Unsent = st.Held.Total() - min(st.Held.Total(), st.Out)
	if s.floor.epoch == s.stream {
		st.Acked = s.floor.seq
	}
	st.Sent = st.Acked
	if s.active && s.cursor.epoch == s.stream {
		st.Sent = max(st.Acked, s.cursor.seq)
	}
	return st
}

// oldest returns about the time of the oldest record that is not released, which is in that segment: that of the record itself if the
// sink has it in hand, or if it is in memory. The lock is held.
func (s *Spool) oldest(g *segment) int64 {
	if s.out.len() > 0 {
		return s.out.oldestTime()
	}
	if g.epoch == s.epoch {
		if t := s.oldestInMemory(); t != 0 {
			return t
		}
	}
	if s.entered(g) {
		return max(s.since, g.since)
	}
	return g.since
}

// oldestInMemory returns the time of the oldest record of the running epoch that is not released, 0 if it is not in memory. The lock is
// held.
func (s *Spool) oldestInMemory() int64 {
	last := event.Seq(0)
	if s.floor.epoch == s.epoch {
		last = s.floor.seq
	}
	if last < s.tail.before {
		return 0
	}
	if r := s.tail.after(last, 1); len(r) > 0 {
		return r[0].Time()
	}
	return 0
}

func (s *Spool) counterUp(n *uint64) {
	s.mu.Lock()
	*n++
	s.mu.Unlock()
}

// failed notes an error of the disk. It logs the first of several in a row, and each that is another than the one before.
func (s *Spool) failed(what string, err error) {
	s.mu.Lock()
	text := what + ": " + err.Error()
	s.state.errors++
	news := !s.state.failing || s.state.lastError != text
	s.state.failing, s.state.lastError = true, text
	s.mu.Unlock()
	if news {
		s.c.Log.Error("the spool fails; it is tried again, and records wait in the ring", "what", what, "err", err)
	}
}

// works notes that a record was written, and logs it after a failure or a time without room.
func (s *Spool) works() {
	s.mu.Lock()
	failing, full := s.state.failing, s.state.full
	s.state.failing, s.state.full = false, ""
	s.mu.Unlock()
	if failing {
		s.c.Log.Info("the spool works again")
	}
	if full != "" {
		s.c.Log.Info("the spool has room again")
	}
}

// slow is how long an operation takes that is counted as slow.
const slow = time.Second

// timed runs an operation of the disk, and counts it if it is slow.
func (s *Spool) timed(op func() error) error {
	begin := s.c.Now()
	err := op()
	if s.c.Now().Sub(begin) > slow {
		s.counterUp(&s.state.slow)
	}
	return err
}

// errFull says that a record does not fit.
type errFull struct{ why string }

func (e *errFull) Error() string { return e.why }

// full notes that there is no room.
func (s *Spool) full(e *errFull) {
	s.mu.Lock()
	news := s.state.full != e.why
	s.state.full = e.why
	s.mu.Unlock()
	if news {
		s.c.Log.Warn("the spool has no room; records wait in the ring", "why", e.why)
	}
}

// signal puts a token into a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// isFull says whether an error is for want of room by the spool's own bounds.
func isFull(err error) (*errFull, bool) {
	var full *errFull
	ok := errors.As(err, &full)
	return full, ok
}
