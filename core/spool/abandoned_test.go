package spool

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/sdk/event"
)

// TestEvictAbandoned evicts records that the sink has had, behind which stands a segment that was abandoned before it had any: its last
// number is that of the record before, which stands for nothing else later.
func TestEvictAbandoned(t *testing.T) {
	d := newDisk()
	second, writes := segmentName(2, 7), 0
	d.fail = func(op, name string) (error, bool) {
		if name == second && op == "write" {
			writes++ // the first is that of the header
		}
		return errIf(name == second && (op == "truncate" || op == "write" && writes > 1), unix.EIO), false
	}
	r := newRig(t, d, Config{Evict: true, Options: Options{Size: 200 << 10}}, 7)
	r.fill(500)
	r.spool()
	same(t, r, r.s.Next(500), 1, 500)
	r.s.Rewind()
	r.fill(1)
	for range 2 { // the block is not written, and what there may be of it is not cut off
		if n, err := r.s.take(); err == nil {
			t.Fatalf("%d records are written", n)
		}
		r.ring.Rewind()
	}
	for evicted := (Tally{}); evicted == (Tally{}); evicted = r.s.State().Evicted {
		r.fill(100)
		r.spool()
		balanced(t, r.s)
	}
	got := r.read(30000)
	balanced(t, r.s)
	if first := got[0]; first.Kind() != event.Loss || first.LossReason() != event.LossEvicted || first.Seq() <= 500 {
		t.Errorf("the first record is %v %d", first.Kind(), first.Seq())
	}
	r.end()
}

// TestRecoverAbandoned starts behind a crash that has left a part of a segment which was abandoned: it has lost its beginning, and the
// segment behind it has its records.
func TestRecoverAbandoned(t *testing.T) {
	d := newDisk()
	second := segmentName(2, 7)
	var left []byte
	d.fail = func(op, name string) (error, bool) {
		if name != second || op != "sync" && op != "truncate" {
			return nil, false
		}
		left = slices.Clone(d.names[name].data)
		return unix.EIO, false
	}
	c := Config{Options: Options{Size: 1 << 20, Sync: SyncBatch}}
	r := newRig(t, d, c, 7)
	r.fill(450)
	r.spool()
	same(t, r, r.read(450), 1, 450)
	r.fill(100) // two blocks: of two generations
	for range 2 {
		if n, err := r.s.take(); err == nil {
			t.Fatalf("%d records are written", n)
		}
		r.ring.Rewind()
	}
	r.spool()
	r.end()

	sc := newScanner(bytes.NewReader(left), 2, 7, int64(len(left)))
	for {
		it, err := sc.next()
		if err != nil {
			t.Fatal(err)
		}
		if it.kind == blockNames && it.first == 501 {
			clear(left[:it.at])
			left = left[:it.at+it.size()]
			break
		}
	}
	d.names[second] = &inode{data: left}
	next := newRig(t, d, c, 8)
	same(t, r, next.read(1000), 451, 100)
	balanced(t, next.s)
	next.end()
}
