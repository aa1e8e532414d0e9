package spool

import (
	"slices"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

// synced returns the disk as it is found after a power failure that has taken everything which was not synced.
func (d *disk) synced() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk()
	for name, n := range d.kept {
		after.names[name] = &inode{data: slices.Clone(n.synced), synced: slices.Clone(n.synced)}
	}
	after.kept = after.names
	return after
}

// TestEvictAfterPowerFailure delivers records that a power failure then takes from the disk, and evicts what it has left: the loss record
// has a number that the sink has had of no record, also where power fails again before.
func TestEvictAfterPowerFailure(t *testing.T) {
	for _, mode := range []Sync{SyncNone, SyncInterval} {
		t.Run(mode.String(), func(t *testing.T) {
			d := newDisk()
			c := Config{Evict: true, Options: Options{Size: 200 << 10, Sync: mode}, segment: 1 << 20, reserve: 100}
			run := func(epoch uint64) *rig {
				r := newRig(t, d, c, epoch)
				t.Cleanup(func() {
					if err := r.s.Close(); err != nil {
						t.Error(err)
					}
				})
				return r
			}
			r := run(7)
			r.fill(150) // of one segment
			r.spool()
			if err := r.s.w.sync(); err != nil {
				t.Fatal(err)
			}
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			var last event.Seq
			for range 4 {
				records := r.s.Next(1000)
				last = records[len(records)-1].Seq()
				r.fill(100) // more than was reserved
				r.spool()
			}
			if last != 450 {
				t.Fatalf("%d records are delivered", last)
			}
			for epoch := range uint64(2) {
				d = d.synced()
				r = run(8 + epoch)
			}
			if st := r.s.State(); st.Held.Total() == 0 || st.Epoch != 7 {
				t.Fatalf("%+v", st)
			}
			for evicted := (Tally{}); evicted == (Tally{}); evicted = r.s.State().Evicted {
				r.fill(100)
				r.spool()
				balanced(t, r.s)
			}
			records := r.s.Next(1000)
			if loss := records[0]; len(records) != 1 || loss.LossReason() != event.LossEvicted || loss.Seq() <= last {
				t.Errorf("%d records, the first is %v %d, and %d was delivered", len(records), loss.Kind(), loss.Seq(), last)
			}
		})
	}
}

// TestEvictOfEarlierRun delivers what a run has left with the kernel, by itself or by the next one, in which a power failure then takes as
// much as it can: an eviction gives its loss record another number.
func TestEvictOfEarlierRun(t *testing.T) {
	for _, itself := range []bool{true, false} {
		d := newDisk()
		c := Config{Evict: true, Options: Options{Size: 200 << 10, Sync: SyncNone}}
		r := newRig(t, d, c, 7)
		r.fill(100)
		r.spool()
		if err := r.s.w.sync(); err != nil {
			t.Fatal(err)
		}
		r.fill(50)
		r.spool()
		if itself {
			same(t, r, r.s.Next(1000), 1, 150)
			r.s.Rewind()
		}
		r.end()
		next := newRig(t, d, c, 8)
		if !itself {
			same(t, r, next.s.Next(1000), 1, 150)
		}
		d = d.synced()
		next.end()
		last := newRig(t, d, c, 9)
		for evicted := (Tally{}); evicted == (Tally{}); evicted = last.s.State().Evicted {
			last.fill(100)
			last.spool()
		}
		if loss := last.s.Next(1000)[0]; loss.LossReason() != event.LossEvicted || loss.Seq() <= 150 {
			t.Errorf("itself=%v: the first record is %v %d, and 150 was delivered", itself, loss.Kind(), loss.Seq())
		}
		last.end()
	}
}

// TestDamageBehindDelivered damages a block of which the sink has had the beginning, or removes the file: what is announced, and counted,
// is the rest of it, kind by kind.
func TestDamageBehindDelivered(t *testing.T) {
	for _, gone := range []bool{false, true} {
		d := newDisk()
		c := Config{Options: Options{Sync: SyncBatch}, segment: 1 << 20}
		r := newRig(t, d, c, 7)
		r.fill(600) // two blocks
		r.spool()
		same(t, r, r.read(123), 1, 123)
		r.end()
		next, last := newRig(t, d, c, 8), event.Seq(500)
		if name := segmentName(1, 7); gone {
			last = 600
			if err := d.Remove(name); err != nil {
				t.Fatal(err)
			}
		} else {
			data := d.names[name].data
			data[len(data)/3] ^= 1
		}
		got := next.read(10000)
		loss := got[0]
		if loss.Kind() != event.Loss || loss.LossReason() != event.LossDamaged || loss.Seq() != last {
			t.Fatalf("the first record is %v %d", loss.Kind(), loss.Seq())
		}
		var want event.LossCounts
		for seq := event.Seq(124); seq <= last; seq++ {
			rec := r.want(seq)
			want[rec.Kind()]++
		}
		if counts := loss.LossCounts(); counts != want {
			t.Errorf("gone=%v: %v are announced, want %v", gone, counts, want)
		}
		if rest := got[1:]; len(rest) != 600-int(last) || len(rest) > 0 && rest[0] != r.want(501) {
			t.Errorf("gone=%v: %d records follow", gone, len(rest))
		}
		balanced(t, next.s)
		if st := next.s.State(); st.Held != (Tally{}) {
			t.Errorf("gone=%v: %v are held", gone, st.Held)
		}
		next.end()
	}
}

// TestBeginningOfEpochGone removes the first segments of an epoch of which nothing is delivered: the stream begins with a loss record.
func TestBeginningOfEpochGone(t *testing.T) {
	d := newDisk()
	first := newRig(t, d, Config{}, 7)
	first.fill(900)
	first.spool()
	first.end()
	second := newRig(t, d, Config{}, 8)
	for range 3 {
		second.fill(300)
		second.spool()
	}
	gone := second.s.segments[len(second.s.segments)-3]
	second.end()
	if err := d.Remove(gone.name()); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, d, Config{}, 9)
	same(t, first, r.read(1000), 1, 900)
	r.s.Rewind()
	got := r.read(1000)
	loss := got[0]
	if loss.Kind() != event.Loss || loss.LossReason() != event.LossDamaged || loss.Seq() != 300 {
		t.Fatalf("the first record is %v %d", loss.Kind(), loss.Seq())
	}
	if counts := loss.LossCounts(); counts.Total() != 300 {
		t.Errorf("%d are announced", counts.Total())
	}
	same(t, second, got[1:], 301, 600)
	balanced(t, r.s)
	r.end()
}
