package spool

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// rig is a spool in memory with a ring in front of it.
type rig struct {
	t     *testing.T
	d     *disk
	c     Config
	ring  *replay.Ring
	s     *Spool
	epoch uint64
	put   int // records put into the ring
	made  []event.Record
}

func newRig(t *testing.T, d *disk, c Config, epoch uint64) *rig {
	t.Helper()
	if c.Size == 0 {
		c.Size = 1 << 20
	}
	if c.segment == 0 {
		c.segment = 16 << 10
	}
	if c.Window == 0 {
		c.Window = 4096
	}
	if c.remember == 0 {
		c.remember = 2048
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	r := &rig{t: t, d: d, c: c, epoch: epoch, made: sinktest.Records(epoch, 2000)}
	var err error
	if r.ring, err = replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 2048}); err != nil {
		t.Fatal(err)
	}
	if r.s, err = open(d, c); err != nil {
		t.Fatal(err)
	}
	r.s.Begin(r.ring, epoch, namesOf(epoch))
	return r
}

// namesOf returns names that tell of their epoch.
func namesOf(epoch uint64) func(uint32) *event.Names {
	made := make(map[uint32]*event.Names)
	return func(g uint32) *event.Names {
		if made[g] == nil {
			n := sinktest.Names()
			n.Generation = g
			n.Policies = []string{"", policyOf(epoch, g)}
			made[g] = n
		}
		return made[g]
	}
}

func policyOf(epoch uint64, g uint32) string {
	return strconv.FormatUint(epoch, 10) + "/" + strconv.FormatUint(uint64(g), 10)
}

// fill puts records into the ring, as many of n as fit.
func (r *rig) fill(n int) {
	for range n {
		rec := r.made[r.put%len(r.made)]
		rec.Generation = 1 + uint32(r.put/500)
		class := replay.ClassOf(rec.Kind())
		if r.ring.Acquire(class, 1) == 0 {
			return
		}
		r.ring.Put(r.ring.Claim(1), class, &rec)
		r.put++
	}
	r.ring.Wake()
}

// spool writes what the ring has.
func (r *rig) spool() {
	r.t.Helper()
	for {
		n, err := r.s.take()
		if err != nil {
			r.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

// end stops in order.
func (r *rig) end() {
	r.t.Helper()
	r.ring.Drain()
	r.s.Run(context.Background())
	if err := r.s.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// read takes up to n records, and acknowledges them.
func (r *rig) read(n int) (got []event.Record) {
	r.t.Helper()
	for len(got) < n {
		records := r.s.Next(min(1024, n-len(got)))
		if len(records) == 0 {
			return got
		}
		got = append(got, records...)
		if err := r.s.Ack(records[len(records)-1].Seq()); err != nil {
			r.t.Fatal(err)
		}
	}
	return got
}

// want is the record with that number of the rig's epoch.
func (r *rig) want(seq event.Seq) event.Record { return recordOf(r.made, seq) }

func recordOf(made []event.Record, seq event.Seq) event.Record {
	i := int(seq) - 1
	rec := made[i%len(made)]
	rec.Generation = 1 + uint32(i/500)
	rec.SetSeq(seq)
	return rec
}

// same fails unless got are the records from a number on.
func same(t *testing.T, r *rig, got []event.Record, from event.Seq, n int) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("%d records from %d to %d, want %d from %d; %v", len(got), got[0].Seq(), got[len(got)-1].Seq(), n, from, r.d)
	}
	for i := range got {
		if want := r.want(from + event.Seq(i)); got[i] != want {
			t.Fatalf("record %d is\n%x %d, want\n%x %d", i, got[i].Frame(), got[i].Generation, want.Frame(), want.Generation)
		}
	}
}

// balanced fails unless the sums hold.
func balanced(t *testing.T, s *Spool) {
	t.Helper()
	st := s.State()
	in, out := st.Found, st.Held
	in.Add(&st.Spooled)
	for _, c := range []Tally{st.Acknowledged, st.Rejected, st.Evicted, st.Damaged} {
		out.Add(&c)
	}
	if in != out {
		t.Fatalf("found and spooled %v, left and held %v: %+v", in, out, st)
	}
}

// TestMemoryFirst checks that a sink that keeps up gets its records without a read of the disk.
func TestMemoryFirst(t *testing.T) {
	d := newDisk()
	r := newRig(t, d, Config{}, 7)
	reads := 0
	d.fail = func(op, name string) (error, bool) {
		if op == "read" || op == "open" && name != positionFile {
			reads++
		}
		return nil, false
	}
	for i := range 20 {
		r.fill(500)
		r.spool()
		same(t, r, r.read(1000), event.Seq(500*i+1), 500)
		if more := r.s.Next(1000); more != nil {
			t.Fatalf("%d records where there are none: a sink would not wait", len(more))
		}
	}
	balanced(t, r.s)
	if reads > 0 {
		t.Errorf("%d reads", reads)
	}
	r.end()
}

// TestMemoryAfterResize resizes the ring and the window while the sink keeps up: it gets its records from memory as before, and so does a
// run of the sink that begins with what the one before has not acknowledged.
func TestMemoryAfterResize(t *testing.T) {
	d := newDisk()
	var reads atomic.Int64
	d.fail = func(op, name string) (error, bool) {
		if op == "read" || op == "open" && name != positionFile {
			reads.Add(1)
		}
		return nil, false
	}
	r := newRig(t, d, Config{Options: Options{Size: 16 << 20}, remember: remembered}, 7)
	opened := reads.Load()
	var acked event.Seq
	for _, slots := range []int{8192, 16384, 256, 1024, 32768, 512, 8192} {
		r.s.SetWindow(slots)
		if err := r.ring.Resize(replay.Limits{Slots: slots, Telemetry: slots / 2, PerKind: slots / 4}); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			r.fill(500)
			r.spool()
			r.s.Rewind()
			sent := acked
			for records := r.s.Next(1024); records != nil; records = r.s.Next(1024) {
				same(t, r, records, sent+1, len(records))
				sent += event.Seq(len(records))
				acked = max(acked, sent-event.Seq(min(slots/2, int(sent))))
				if err := r.s.Ack(acked); err != nil {
					t.Fatal(err)
				}
			}
			if int(sent) != r.put {
				t.Fatalf("%d records are delivered of %d", sent, r.put)
			}
		}
		balanced(t, r.s)
	}
	if n := reads.Load() - opened; n > 0 {
		t.Errorf("%d reads", n)
	}
	r.end()
}

// TestBacklog checks that a sink gets what is on the disk, then what is in memory, and after a rewind all that it has not acknowledged
// again.
func TestBacklog(t *testing.T) {
	d := newDisk()
	r := newRig(t, d, Config{Options: Options{Size: 16 << 20}}, 7)
	for range 10 {
		r.fill(1000)
		r.spool()
	}
	same(t, r, r.read(3333), 1, 3333)
	for range 3 {
		r.s.Next(1000)
	}
	r.s.Rewind()
	same(t, r, r.read(20000), 3334, 10000-3333)
	balanced(t, r.s)
	if held := r.s.State().Held; held.Total() != 0 {
		t.Errorf("%v are held", held)
	}
	r.fill(10)
	r.spool()
	same(t, r, r.read(20), 10001, 10)
	r.end()
}

// TestWindow changes how many records the sink may have in hand while it has as many as it may: more come, or none until it has
// acknowledged some.
func TestWindow(t *testing.T) {
	r := newRig(t, newDisk(), Config{Window: 100}, 7)
	r.fill(1000)
	r.spool()
	take := func(want int) {
		t.Helper()
		n := 0
		for {
			records := r.s.Next(1024)
			if len(records) == 0 {
				break
			}
			n += len(records)
		}
		if n != want {
			t.Errorf("%d records handed out, want %d", n, want)
		}
	}
	ack := func(through event.Seq) {
		t.Helper()
		if err := r.s.Ack(through); err != nil {
			t.Fatal(err)
		}
	}
	take(100)
	r.s.SetWindow(250)
	take(150)
	r.s.SetWindow(50)
	take(0)
	ack(200)
	take(0)
	ack(210)
	take(10)
	ack(260)
	same(t, r, r.read(1000), 261, 740)
	balanced(t, r.s)
	r.end()
}

// TestFallsBehindAgain reads from the disk, then from memory, and then from the disk again, in the middle of a segment.
func TestFallsBehindAgain(t *testing.T) {
	r := newRig(t, newDisk(), Config{segment: 1 << 20}, 7)
	r.fill(3000)
	r.spool()
	var got []event.Record
	next := func(limit, n int) {
		t.Helper()
		records := r.s.Next(limit)
		if len(records) != n {
			t.Fatalf("%d records, want %d", len(records), n)
		}
		got = append(got, records...)
		if err := r.s.Ack(records[n-1].Seq()); err != nil {
			t.Fatal(err)
		}
	}
	next(480, 480)
	next(480, 20)
	next(480, 480) // of a block of 500
	next(480, 480) // from memory
	r.fill(3000)
	r.spool()
	got = append(got, r.read(10000)...)
	same(t, r, got, 1, 6000)
	balanced(t, r.s)
	r.end()
}

// TestOldestTime follows the time of the oldest record that is not acknowledged, in the middle of a segment: from the disk, in the sink's
// hand, after its run, after a restart, and when it falls out of memory.
func TestOldestTime(t *testing.T) {
	d := newDisk()
	c := Config{segment: 1 << 20, remember: 64, Options: Options{Size: 16 << 20}}
	r := newRig(t, d, c, 7)
	is := func(when string, from, to event.Seq) {
		t.Helper()
		oldest, newest := r.want(from), r.want(to)
		if got := r.s.State().OldestTime; got < oldest.Time() || got > newest.Time() {
			t.Errorf("%s: the oldest record held is %v after record %d", when, time.Duration(got-oldest.Time()), from)
		}
	}
	r.fill(1000)
	r.spool()
	is("nothing read", 1, 1)
	r.read(300)
	is("what follows is not read yet", 300, 301)
	records := r.s.Next(100)
	is("in hand", 301, 301)
	if err := r.s.Ack(records[9].Seq()); err != nil {
		t.Fatal(err)
	}
	is("in hand, acknowledged in part", 311, 311)
	r.s.Rewind()
	is("the run has ended", 311, 311)
	r.end()

	former := r
	r = newRig(t, d, c, 8)
	is("after a restart", 311, 311)
	r.fill(500)
	r.spool()
	is("newer records of another epoch", 311, 311)
	same(t, former, r.read(1000), 311, 690)
	is("all of the earlier epoch is acknowledged", 1, 1)
	r.s.Rewind()
	r.read(480)
	is("in memory", 481, 481)
	r.fill(1000)
	r.spool()
	is("in memory no more", 481, 481)
	r.end()

	r = newRig(t, d, c, 9)
	is("after another restart", 481, 481)
	r.end()
}

// TestEpochs checks that what runs have left comes first, run by run, each as a stream of its own with its own names.
func TestEpochs(t *testing.T) {
	for _, mode := range []Sync{SyncNone, SyncInterval, SyncBatch} {
		t.Run(mode.String(), func(t *testing.T) {
			d := newDisk()
			c := Config{Options: Options{Sync: mode, Size: 16 << 20}}
			var rigs []*rig
			for epoch := range uint64(3) {
				r := newRig(t, d, c, 100+epoch)
				rigs = append(rigs, r)
				r.fill(1500)
				r.spool()
				if epoch == 0 {
					same(t, r, r.read(700), 1, 700)
				}
				r.end()
			}
			r := newRig(t, d, c, 200)
			r.fill(100)
			r.spool()
			for i, from := range []event.Seq{701, 1, 1} {
				if r.s.Epoch() != rigs[i].epoch {
					t.Fatalf("epoch %d, want %d", r.s.Epoch(), rigs[i].epoch)
				}
				got := r.read(10000)
				same(t, rigs[i], got, from, 1501-int(from))
				for _, rec := range got {
					if n := r.s.Names(rec.Generation); n.Policy(1) != policyOf(rigs[i].epoch, rec.Generation) {
						t.Fatalf("policy %q", n.Policy(1))
					}
				}
				if !r.s.Drained() {
					t.Fatal("the stream has not ended")
				}
				balanced(t, r.s)
				r.s.Rewind()
			}
			if r.s.Epoch() != 200 || r.s.Drained() {
				t.Fatalf("epoch %d, drained %v", r.s.Epoch(), r.s.Drained())
			}
			same(t, r, r.read(1000), 1, 100)
			balanced(t, r.s)
			r.end()
			r = newRig(t, d, c, 201)
			if st := r.s.State(); st.Held.Total() != 0 || st.Segments != 0 {
				t.Errorf("%+v", st)
			}
			r.s.tidy(true)
			if len(d.names) != 1 {
				t.Errorf("files are left:%v", d)
			}
			r.end()
		})
	}
}

// TestEvict checks that a full spool gives up the oldest records, says so in their place, never takes more than its size, and that a
// number that was handed out stands for nothing else.
func TestEvict(t *testing.T) {
	d := newDisk()
	r := newRig(t, d, Config{Evict: true, Options: Options{Size: 200 << 10}}, 7)
	r.fill(500)
	r.spool()
	had := append([]event.Record(nil), r.s.Next(300)...)
	same(t, r, had, 1, 300)
	r.s.Rewind()
	for range 20 {
		r.fill(1000)
		r.spool()
		if st := r.s.State(); st.Bytes > 200<<10 || d.used > 200<<10 {
			t.Fatalf("%d bytes, %d on the disk", st.Bytes, d.used)
		}
		balanced(t, r.s)
	}
	got := r.read(30000)
	balanced(t, r.s)
	first := got[0]
	if first.Kind() != event.Loss || first.LossReason() != event.LossEvicted || first.Seq() <= 300 {
		t.Fatalf("the first record is %v %d", first.Kind(), first.Seq())
	}
	same(t, r, got[1:], first.Seq()+1, 20500-int(first.Seq()))
	lost := first.LossCounts()
	var want uint64
	for seq := event.Seq(1); seq <= first.Seq(); seq++ {
		rec := r.want(seq)
		if rec.Kind() == event.Loss {
			counts := rec.LossCounts()
			want += counts.Total()
		} else {
			want++
		}
	}
	if lost.Total() != want {
		t.Errorf("%d announced, want %d", lost.Total(), want)
	}
	r.end()
}

// TestEvictSince gives up a segment of which some is delivered: the loss record begins with what was not.
func TestEvictSince(t *testing.T) {
	for _, again := range []bool{false, true} {
		d := newDisk()
		c := Config{Evict: true, Options: Options{Size: 200 << 10}}
		r := newRig(t, d, c, 7)
		r.fill(500)
		r.spool()
		same(t, r, append([]event.Record(nil), r.s.Next(50)...), 1, 50)
		if err := r.s.Ack(30); err != nil {
			t.Fatal(err)
		}
		r.s.Rewind()
		if again { // and another run gives it up
			r.end()
			made := r.made
			r = newRig(t, d, c, 8)
			r.made = made
		}
		for range 4 {
			r.fill(1000)
			r.spool()
		}
		first := r.s.Next(1)[0]
		since, want := first.LossSince(), r.want(31)
		if first.LossReason() != event.LossEvicted || since != want.Time() {
			t.Errorf("again %v: %v since %d, want %d, that of record 31; record 1 is of %d", again, first.LossReason(), since, want.Time(), r.made[0].Time())
		}
		r.end()
	}
}

// TestRefuse checks that a full spool leaves records in the ring, and takes them when there is room.
func TestRefuse(t *testing.T) {
	d := newDisk()
	r := newRig(t, d, Config{Options: Options{Size: 200 << 10}}, 7)
	var err error
	for err == nil {
		r.fill(1000)
		_, err = r.s.take()
	}
	if _, full := isFull(err); !full {
		t.Fatal(err)
	}
	r.ring.Rewind()
	if st := r.s.State(); st.Full == "" || st.Bytes > 200<<10 {
		t.Errorf("%+v", st)
	}
	n := r.put
	got := r.read(1000)
	r.s.tidy(false)
	r.spool()
	got = append(got, r.read(100000)...)
	same(t, r, got, 1, n)
	balanced(t, r.s)
	r.end()
}

// TestHungDisk has a write that does not end: the sink gets what is in memory, and a status is told; what comes waits in the ring, and
// goes on when the write has ended. An operation that has taken long is counted.
func TestHungDisk(t *testing.T) {
	var late atomic.Int64
	d := newDisk()
	r := newRig(t, d, Config{Now: func() time.Time { return time.Now().Add(time.Duration(late.Load())) }}, 7)
	r.fill(100)
	r.spool()
	got := r.read(40)
	begun, release := make(chan struct{}), make(chan struct{})
	d.fail = func(op, name string) (error, bool) {
		if op == "write" && name != positionFile {
			close(begun)
			<-release
			late.Add(int64(2 * slow))
		}
		return nil, false
	}
	r.fill(200)
	taken := make(chan error)
	go func() {
		_, err := r.s.take()
		taken <- err
	}()
	<-begun
	got = append(got, r.read(1000)...)
	same(t, r, got, 1, 100)
	if st, in := r.s.State(), r.ring.State(); st.Held.Total() != 0 || in.Held != 200 || st.Slow != 0 {
		t.Errorf("%d held, %d in the ring, %d slow", st.Held.Total(), in.Held, st.Slow)
	}
	close(release)
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.fail = nil
	d.mu.Unlock()
	same(t, r, r.read(1000), 101, 200)
	if st := r.s.State(); st.Slow != 1 {
		t.Errorf("%d operations were slow", st.Slow)
	}
	balanced(t, r.s)
	r.end()
}

// TestWriteBehindTheEnd checks that a write which ends when the ring was handed to the next run already is counted once: this run takes
// it back, and where it cannot, the next one finds it and counts it as taken from its ring.
func TestWriteBehindTheEnd(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) {
			d := newDisk()
			r := newRig(t, d, Config{}, 7)
			r.fill(300)
			r.spool()
			r.fill(200)
			var at replay.Position
			var held []replay.Held
			d.fail = func(op, name string) (error, bool) {
				if op == "write" && name != positionFile && held == nil {
					at = r.ring.Freeze()
					r.ring.Held(func(rec *event.Record, unanswered, rejected bool) bool {
						held = append(held, replay.Held{Record: *rec, Unanswered: unanswered, Rejected: rejected})
						return true
					})
				}
				return nil, false
			}
			if n, err := r.s.take(); err == nil {
				t.Fatalf("%d records are taken from a ring that is handed over", n)
			}
			d.fail = nil
			if st := r.s.State(); st.Spooled.Total() != 300 || len(held) != 200 {
				t.Errorf("%d spooled, %d handed over", st.Spooled.Total(), len(held))
			}
			balanced(t, r.s)
			same(t, r, r.read(1000), 1, 300)
			next := newDisk()
			if killed {
				for name, n := range d.names {
					next.names[name] = &inode{data: slices.Clone(n.data)}
				}
			}
			if err := r.s.Close(); err != nil {
				t.Fatal(err)
			}
			if !killed {
				next = d
			}
			ring, err := replay.Restore(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 2048}, &at, held)
			if err != nil {
				t.Fatal(err)
			}
			again := *r
			again.d, again.ring = next, ring
			if again.s, err = open(next, r.c); err != nil {
				t.Fatal(err)
			}
			again.s.Begin(ring, 7, namesOf(7))
			balanced(t, again.s)
			again.fill(100)
			again.spool()
			from := again.s.Acknowledged() + 1 // of a run that was killed the position may be old
			same(t, &again, again.read(1000), from, 601-int(from))
			balanced(t, again.s)
			if st, in := again.s.State(), ring.State(); st.Spooled.Total() != 300 || st.Found.Total() != uint64(301-from) || in.Held != 0 {
				t.Errorf("%d spooled, %d found, %d in the ring, from %d", st.Spooled.Total(), st.Found.Total(), in.Held, from)
			}
			again.end()
		})
	}
}

// TestReject checks the count of what a sink rejects.
func TestReject(t *testing.T) {
	r := newRig(t, newDisk(), Config{}, 7)
	r.fill(10)
	r.spool()
	r.s.Next(10)
	if !r.s.Reject(4) || r.s.Reject(4) || r.s.Reject(11) {
		t.Error("rejections")
	}
	if err := r.s.Ack(11); err == nil {
		t.Error("a record that was not handed out is acknowledged")
	}
	if err := r.s.Ack(10); err != nil {
		t.Error(err)
	}
	st := r.s.State()
	if st.Rejected.Total() != 1 || st.Acknowledged.Total() != 9 || st.Acked != 10 {
		t.Errorf("%+v", st)
	}
	balanced(t, r.s)
	r.end()
}

// TestFlippedBits flips one bit of a spool, anywhere, and checks that the records of its block are lost alone, and announced where
// they stood.
func TestFlippedBits(t *testing.T) {
	d := newDisk()
	c := Config{Options: Options{Size: 16 << 20}}
	r := newRig(t, d, c, 100)
	for range 12 {
		r.fill(100)
		r.spool()
	}
	r.end()
	var names []string
	for name := range d.names {
		if name != positionFile {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	places := 67
	if race.Enabled {
		places = 7 // all of it happens in one goroutine
	}
	for _, name := range names {
		whole := d.names[name].data
		for at := 0; at < len(whole); at += 1 + len(whole)/places {
			d.names[name].data = slices.Clone(whole)
			d.names[name].data[at] ^= 1 << (at % 8)
			copied := newDisk()
			for n, i := range d.names {
				copied.names[n] = &inode{data: slices.Clone(i.data)}
			}
			again := newRig(t, copied, c, 200)
			got := again.read(10000)
			checkDamaged(t, r, got, 1200, 200)
			balanced(t, again.s)
			again.end()
		}
		d.names[name].data = whole
	}
}

// checkDamaged fails unless what was read is the records 1 to n, those that are missing announced by loss records, and at most that many.
func checkDamaged(t *testing.T, r *rig, got []event.Record, n, most int) {
	t.Helper()
	next, missing := event.Seq(1), 0
	for i := range got {
		rec := got[i]
		if rec.Kind() == event.Loss && rec.LossReason() == event.LossDamaged {
			counts := rec.LossCounts()
			gap := int(rec.Seq()-next) + 1
			losses := 0
			for seq := next; seq <= rec.Seq(); seq++ {
				if w := r.want(seq); w.Kind() == event.Loss {
					losses++
				}
			}
			if int(counts.Total()) != gap-losses {
				t.Fatalf("%d announced at %d, %d are missing", counts.Total(), rec.Seq(), gap-losses)
			}
			missing += gap
		} else if rec.Seq() != next {
			t.Fatalf("record %d comes where %d should", rec.Seq(), next)
		} else if want := r.want(next); rec != want {
			t.Fatalf("record %d is another", next)
		}
		next = rec.Seq() + 1
	}
	if int(next) != n+1 {
		t.Fatalf("the last is %d, want %d", next-1, n)
	}
	if missing > most {
		t.Fatalf("%d are missing", missing)
	}
}

// String describes a spool, for messages.
func (s *Spool) String() string { return fmt.Sprintf("%+v", s.State()) }
