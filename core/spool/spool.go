package spool

import (
	"errors"
	"log/slog"
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

// signal puts a token into a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
