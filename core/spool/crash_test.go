package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestP6Crashes simulates machines that lose power, and disks of which any call may fail: with or without an effect. Each seed is a
// history of some runs. After each, what was acknowledged to the ring with SyncBatch, or synced with SyncInterval, has come to the receiver,
// in order, the sums hold, and no number stands for two records, but for what the disk has lost. PIPELINED_SPOOL_SEEDS says how many seeds,
// PIPELINED_SPOOL_FIRST from which on, and PIPELINED_SPOOL_SEED tells what happens in one.
func TestP6Crashes(t *testing.T) {
	seeds := number("PIPELINED_SPOOL_SEEDS", 2000)
	if race.Enabled && os.Getenv("PIPELINED_SPOOL_SEEDS") == "" {
		seeds = 60 // all of it happens in one goroutine
	}
	if one := number("PIPELINED_SPOOL_SEED", 0); one > 0 {
		if err := newHistory(t, uint64(one), t.Logf).run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	first := uint64(number("PIPELINED_SPOOL_FIRST", 1))
	for seed := first; seed < first+uint64(seeds); seed++ {
		h := newHistory(t, seed, func(string, ...any) {})
		if err := h.run(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func number(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return otherwise
}

// history is what happens to one spool in several runs.
type history struct {
	t    *testing.T
	rng  *rand.Rand
	say  func(string, ...any)
	d    *disk
	c    Config
	made []event.Record

	slots int    // of the rings
	epoch uint64 // of the run
	// unsynced says that the disk has failed to sync something.
	unsynced bool

	safe map[uint64]event.Seq // by epoch: acknowledged to the ring
	put  map[uint64]int       // by epoch: put into it
	lent map[place]event.Record
	gone map[place]bool       // the ring has given it up
	got  map[uint64]*receiver // by epoch
	last uint64               // epoch that the receiver was sent in this run
	held []event.Record
}

// receiver is what the destination has of one epoch.
type receiver struct {
	last event.Seq
	had  map[event.Seq]bool // numbers of records that were in the ring
}

var simulated = sinktest.Records(1, 4096)

func newHistory(t *testing.T, seed uint64, say func(string, ...any)) *history {
	h := &history{
		t: t, rng: rand.New(rand.NewPCG(seed, 14)), say: say, d: newDisk(), made: simulated,
		safe: make(map[uint64]event.Seq), put: make(map[uint64]int), lent: make(map[place]event.Record), gone: make(map[place]bool),
		got: make(map[uint64]*receiver),
	}
	h.slots = 256
	h.c = Config{
		Options: Options{Size: 1 << 20, Sync: SyncBatch, Interval: time.Second}, Window: 256, Now: time.Now, segment: 3 << 10, remember: 256,
		reserve: 4,
	}
	if h.rng.IntN(3) == 0 {
		h.c.Evict, h.c.Size = true, 24<<10
		h.slots = 64
	}
	if n := h.rng.IntN(4); n < 2 {
		h.c.Sync = []Sync{SyncInterval, SyncNone}[n]
	}
	return h
}

func (h *history) run() error {
	runs := 1 + h.rng.IntN(4)
	for epoch := uint64(1); epoch <= uint64(runs); epoch++ {
		if err := h.one(epoch, false); err != nil {
			return fmt.Errorf("epoch %d: %w", epoch, err)
		}
	}
	if err := h.one(uint64(runs)+1, true); err != nil {
		return fmt.Errorf("the last: %w", err)
	}
	for epoch, safe := range h.safe {
		if r := h.got[epoch]; safe > 0 && (r == nil || r.last < safe) {
			return fmt.Errorf("of epoch %d %d were acknowledged to the ring, and %+v was received; %v", epoch, safe, r, h.d)
		}
	}
	return nil
}

// one is one run: until power fails, or an end in order, or, if it is the last, until everything is delivered.
func (h *history) one(epoch uint64, last bool) error {
	h.d.fail = nil
	if !last {
		h.faults()
	}
	s, err := open(h.d, h.c)
	if h.d.down {
		h.d = h.d.crash(h.rng)
		return nil
	}
	if err != nil {
		return nil // the directory could not be listed: another start
	}
	ring, err := replay.New(replay.Limits{Slots: h.slots, Telemetry: h.slots / 2, PerKind: h.slots / 4})
	if err != nil {
		return err
	}
	s.begin(ring, epoch, namesOf(epoch))
	h.last, h.epoch = 0, epoch
	h.say("epoch %d begins with %v: %v", epoch, s, h.d)
	s.written = last
	for step := 0; (last || step < 40) && !h.d.down; step++ {
		if step > 100000 {
			return fmt.Errorf("it does not end: %+v", s.State())
		}
		if err := h.step(s, ring, epoch, last); err != nil {
			return err
		}
		h.noteSafe(ring, epoch)
		if last && s.Drained() && s.Epoch() == epoch {
			break
		}
	}
	if h.d.down || !last && h.rng.IntN(2) == 0 {
		h.say("power fails after %d calls:%v", h.d.calls, h.d)
		h.d = h.d.crash(h.rng)
		h.say("and leaves%v", h.d)
		return nil
	}
	for range 3 {
		if n, err := h.take(s, ring, epoch); err == nil && n == 0 {
			break
		}
		ring.Rewind()
	}
	h.noteSafe(ring, epoch)
	_ = s.Close() // may fail as everything
	if h.d.down {
		h.d = h.d.crash(h.rng)
	}
	return nil
}

// noteSafe notes what was acknowledged to the ring, where that means that the disk has it.
func (h *history) noteSafe(ring *replay.Ring, epoch uint64) {
	if h.c.Sync == SyncBatch && !h.d.down {
		h.safe[epoch] = max(h.safe[epoch], ring.Acked())
	}
}

// keep syncs, which a spool does every now and then by itself with SyncInterval. A disk that has failed to do so once may have thrown
// anything away.
func (h *history) keep(s *Spool, epoch uint64) {
	if h.c.Sync == SyncInterval && s.w.sync() == nil && !h.d.down && !h.unsynced {
		h.safe[epoch] = max(h.safe[epoch], s.w.published)
	}
	s.tidy(false)
}

// faults decides what goes wrong.
func (h *history) faults() {
	rate := []float64{0, 0, 0.01, 0.1}[h.rng.IntN(4)]
	end := h.rng.IntN(400)
	calls, row := 0, 0
	h.d.fail = func(op, name string) (error, bool) {
		if calls++; calls == end {
			h.d.down = h.rng.IntN(2) == 0 // before or after it
			defer func() { h.d.down = true }()
			h.say("power fails in %s of %s", op, name)
			return errCrashed, !h.d.down
		}
		// A disk that refuses to read for good loses records: that is another test.
		if reads := op == "read" || op == "open" || op == "size"; h.rng.Float64() < rate && (!reads || row < tries-1) {
			row++
			h.say("%s of %s fails", op, name)
			h.unsynced = h.unsynced || op == "sync"
			return []error{unix.EIO, unix.ENOSPC, unix.EROFS}[h.rng.IntN(3)], h.rng.IntN(2) == 0
		}
		row = 0
		return nil, false
	}
}

func (h *history) step(s *Spool, ring *replay.Ring, epoch uint64, last bool) error {
	choice := h.rng.IntN(10)
	if last {
		choice = 6
	}
	switch {
	case choice < 3:
		h.fill(ring, epoch, h.rng.IntN(60))
	case choice < 6:
		if _, err := h.take(s, ring, epoch); err != nil {
			h.say("take: %v", err)
			ring.Rewind()
		}
	case choice < 8:
		if err := h.read(s, 1+h.rng.IntN(300)); err != nil {
			return err
		}
	case choice == 8:
		s.Rewind()
	default:
		h.keep(s, epoch)
	}
	if err := unbalanced(s); err != nil {
		return err
	}
	return h.unspooled(s, ring, epoch)
}

func unbalanced(s *Spool) error {
	st := s.State()
	in, out := st.Found, st.Held
	in.Add(&st.Spooled)
	for _, c := range []Tally{st.Acknowledged, st.Rejected, st.Evicted, st.Damaged} {
		out.Add(&c)
	}
	if in != out {
		return fmt.Errorf("found and spooled %v, left and held %v: %+v", in, out, st)
	}
	return nil
}

// unspooled returns an error unless what went into the ring is in it, was given up by it, or went into the spool.
func (h *history) unspooled(s *Spool, ring *replay.Ring, epoch uint64) error {
	in, st := ring.State(), s.State()
	queued, n := uint64(h.put[epoch])+in.Released.Announced, in.Held+st.Spooled.Total()
	for _, evicted := range in.Released.Evicted {
		n += evicted
	}
	if n != queued {
		return fmt.Errorf("%d records went into the ring of epoch %d, and %d are accounted for", queued, epoch, n)
	}
	return nil
}

// take lets the spool take records, and notes which they are: from now on their numbers stand for nothing else.
func (h *history) take(s *Spool, ring *replay.Ring, epoch uint64) (n int, err error) {
	h.held = appendHeld(h.held[:0], ring)
	n, err = s.take()
	for sent := ring.State().Sent; len(h.held) > 0 && h.held[0].Seq() < sent; h.held = h.held[1:] {
		if at := (place{epoch: epoch, seq: h.held[0].Seq()}); h.lent[at] == (event.Record{}) {
			h.lent[at] = h.held[0]
		}
	}
	return n, err
}

func appendHeld(list []event.Record, ring *replay.Ring) []event.Record {
	ring.Held(func(rec *event.Record, _, _ bool) bool {
		list = append(list, *rec)
		return true
	})
	return list
}

// fill puts records into the ring, which gives up others for them where the spool does.
func (h *history) fill(ring *replay.Ring, epoch uint64, n int) {
	if h.c.Evict {
		h.held = appendHeld(h.held[:0], ring)
		defer h.noteGone(ring, epoch)
	}
	for range n {
		rec := h.made[(int(epoch)*1000+h.put[epoch])%len(h.made)]
		rec.Generation = 1 + uint32(h.put[epoch]/50)
		class := replay.ClassOf(rec.Kind())
		acquire := ring.Acquire
		if h.c.Evict {
			acquire = ring.AcquireEvicting
		}
		if acquire(class, 1) == 0 {
			break
		}
		if ring.Owes() {
			ring.AnnounceOwed(rec.Generation)
		}
		ring.Put(ring.Claim(1), class, &rec)
		h.put[epoch]++
	}
}

// noteGone notes what a ring held before and does not hold any more.
func (h *history) noteGone(ring *replay.Ring, epoch uint64) {
	before := h.held
	ring.Held(func(rec *event.Record, _, _ bool) bool {
		for ; len(before) > 0 && before[0].Seq() <= rec.Seq(); before = before[1:] {
			if before[0].Seq() < rec.Seq() {
				h.gone[place{epoch: epoch, seq: before[0].Seq()}] = true
			}
		}
		return true
	})
	for i := range before {
		h.gone[place{epoch: epoch, seq: before[i].Seq()}] = true
	}
}

// read is a run of a sink, or a part of one.
func (h *history) read(s *Spool, n int) error {
	epoch := s.Epoch()
	if epoch < h.last {
		return fmt.Errorf("stream %d comes behind stream %d", epoch, h.last)
	}
	h.last = epoch
	records := s.Next(n)
	if h.d.down {
		return nil // nobody gets them
	}
	r := h.got[epoch]
	if r == nil {
		r = &receiver{had: make(map[event.Seq]bool)}
		h.got[epoch] = r
	}
	for i := range records {
		if err := h.receive(r, epoch, &records[i], s.Names(records[i].Generation)); err != nil {
			return err
		}
	}
	if len(records) > 0 && h.rng.IntN(4) > 0 {
		through := records[h.rng.IntN(len(records))].Seq()
		if err := s.Ack(through); err != nil {
			return err
		}
	}
	if len(records) == 0 { // the window may be full
		if err := s.Ack(s.State().Sent); err != nil {
			return err
		}
	}
	if len(records) == 0 && s.Drained() {
		s.Rewind()
	}
	return nil
}

// receive is what the destination makes of a record: it drops what it has had.
func (h *history) receive(r *receiver, epoch uint64, rec *event.Record, names *event.Names) error {
	seq := rec.Seq()
	at := place{epoch: epoch, seq: seq}
	want, known := h.lent[at]
	if *rec != want {
		return h.lossOf(r, epoch, rec)
	}
	if got := names.Policy(1); got != policyOf(epoch, rec.Generation) && (seq <= h.safe[epoch] || got != "") {
		return fmt.Errorf("record %d of epoch %d has the names of %q", seq, epoch, got)
	}
	r.had[seq] = true
	if seq <= r.last {
		return nil
	}
	if !known || h.gone[at] && epoch == h.epoch { // in a later run it may have come to the disk all the same
		return fmt.Errorf("record %d of epoch %d was given up by the ring, or never in it", seq, epoch)
	}
	if n := h.missing(r, epoch, seq); n > 0 {
		return fmt.Errorf("record %d of epoch %d comes behind %d", seq, epoch, r.last)
	}
	r.last = seq
	return nil
}

// lossOf is what the destination makes of a loss record that the spool has made: it says of everything that is missing, and at most as much
// more as the receiver has had, and has a number that the receiver has had of no other record.
func (h *history) lossOf(r *receiver, epoch uint64, loss *event.Record) error {
	seq := loss.Seq()
	evicted := loss.Kind() == event.Loss && loss.LossReason() == event.LossEvicted && h.c.Evict
	// Where power failed before a sync, what was written later may be there and what was written before may not. The same of a write that
	// was abandoned, of records that the ring has given up then.
	torn := loss.Kind() == event.Loss && loss.LossReason() == event.LossDamaged &&
		(r.last >= h.safe[epoch] && seq > h.safe[epoch] || h.missing(r, epoch, seq+1) == 0)
	if !evicted && !torn {
		return fmt.Errorf("record %d of epoch %d is another: %v %v", seq, epoch, loss.Kind(), loss.LossReason())
	}
	if seq <= r.last {
		if evicted && r.had[seq] {
			return fmt.Errorf("record %d of epoch %d was received, and now is a loss record", seq, epoch)
		}
		return nil
	}
	missing := h.missing(r, epoch, min(seq, h.safe[epoch])+1)
	if counts := loss.LossCounts(); counts.Total() < missing {
		return fmt.Errorf("%d are missing between %d and %d of epoch %d, and %d announced", missing, r.last, seq, epoch, counts.Total())
	}
	r.last = seq
	return nil
}

// missing counts what a receiver lacks that comes before a number and that the ring has not given up, with what loss records among it say.
func (h *history) missing(r *receiver, epoch uint64, before event.Seq) (n uint64) {
	if h.c.Sync == SyncNone || h.c.Sync == SyncInterval && h.unsynced {
		before = min(before, h.safe[epoch]+1) // a power failure may take the headers of segments, which count what was in those before
	}
	for seq := r.last + 1; seq < before; seq++ {
		at := place{epoch: epoch, seq: seq}
		rec, known := h.lent[at]
		switch {
		case !known || h.gone[at]:
		case rec.Kind() == event.Loss:
			counts := rec.LossCounts()
			n += counts.Total()
		default:
			n++
		}
	}
	return n
}
