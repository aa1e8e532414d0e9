package worker

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/sdk/event"
)

// many returns a batch of packets of flows from..from+n at one time.
func many(t testing.TB, at time.Duration, from, n int) (batch []timed) {
	for i := range n {
		data := udpFrame(t, client, 40000, server, 9, 0)
		binary.BigEndian.PutUint32(data[26:], uint32(from+i)) // the source address
		batch = append(batch, timed{at, data, ""})
	}
	return batch
}

// TestLiveAging lets a thousand sessions end while nothing arrives. A live worker ends a bounded number at a time, looks
// for packets in between without waiting, and waits again when it has caught up.
func TestLiveAging(t *testing.T) {
	const sessions = 1024
	ctx, cancel := context.WithCancel(context.Background())
	r := newRig(t)
	r.source.err = nil
	for i := range sessions / packet.BatchSize {
		r.batch(many(t, 0, i*packet.BatchSize, packet.BatchSize)...)
	}
	filled := len(r.source.batches)
	rounds := sessions/expireBatch + 4
	for range rounds {
		r.timeout(2 * time.Minute)
	}
	r.source.onEmpty = cancel
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	closes := 0
	for _, rec := range r.drain() {
		if rec.Kind() == event.SessionClose {
			closes++
		}
	}
	if closes != sessions {
		t.Errorf("%d sessions closed, want %d", closes, sessions)
	}
	// The first wait is the one in which the clock moved on; then the worker is behind until all have ended.
	waits := r.source.waits[filled:]
	behind := sessions / expireBatch
	for i, wait := range waits {
		if want := i < 1 || i > behind; want != (wait == idle) {
			t.Fatalf("waits %v, want %d of 0 after the first", waits, behind)
		}
	}
}

// TestLiveAgingUnderLoad checks that one batch ends a bounded number of sessions however many are due.
func TestLiveAgingUnderLoad(t *testing.T) {
	r := newRig(t)
	for i := range 16 {
		r.batch(many(t, 0, i*packet.BatchSize, packet.BatchSize)...)
	}
	var late []timed
	for i := range packet.BatchSize {
		late = append(late, many(t, 2*time.Minute+time.Duration(i)*2*time.Second, 5000+i, 1)...)
	}
	r.batch(late...)
	r.run()
	if got := r.Sessions.Stats().Closed; got != expireBatch {
		t.Errorf("%d sessions ended in one batch, want %d", got, expireBatch)
	}
}

// TestCompleteAging checks that for a capture every session that is due ends before the next packet's events, in the
// order of their ends, more of them than fit at a time.
func TestCompleteAging(t *testing.T) {
	const sessions = 5 * packet.BatchSize * 4
	build := func() []event.Record {
		r := newRig(t, complete)
		for i := range sessions / packet.BatchSize {
			r.batch(many(t, time.Duration(i)*500*time.Millisecond, i*packet.BatchSize, packet.BatchSize)...)
		}
		// The clock jumps within a batch.
		r.batch(append(many(t, 12*time.Second, 9000, 1), many(t, time.Hour, 9001, 2)...)...)
		return r.run()
	}
	records := build()
	opens := sessions + 1
	closes := sessions + 1
	if len(records) != opens+closes+2 {
		t.Fatalf("%d records, want %d", len(records), opens+closes+2)
	}
	for i := range records {
		want := event.SessionOpen
		if i >= opens && i < opens+closes {
			want = event.SessionClose
		}
		if records[i].Kind() != want {
			t.Fatalf("record %d of %d is a %v, want %v", i, len(records), records[i].Kind(), want)
		}
		if i > 0 && records[i].Time() < records[i-1].Time() {
			t.Fatalf("record %d is older than the one before it", i)
		}
	}
	if again := build(); !slices.Equal(lines(records), lines(again)) {
		t.Error("the same packets gave other records")
	}
}

// TestCloseAtEnd ends what is left when the source ends: what is due at its own time, the rest at that of the last packet.
func TestCloseAtEnd(t *testing.T) {
	r := newRig(t, complete, func(c *Config, _ *session.Config) { c.CloseAtEnd = true })
	const last = 60*time.Second + 50*time.Millisecond // in the wheel's slot of the first session's end
	r.batch(many(t, 0, 1, 1)...)
	r.batch(many(t, last, 2, 1)...)
	records := r.run()
	if len(records) != 4 {
		t.Fatalf("%d records, want 4", len(records))
	}
	begin := records[0].Time()
	for i, want := range []struct {
		why event.CloseReason
		at  time.Duration
	}{{event.CloseTimeout, 60 * time.Second}, {event.CloseNone, last}} {
		rec := &records[2+i]
		if rec.Kind() != event.SessionClose || rec.CloseReason() != want.why || rec.Time()-begin != int64(want.at) {
			t.Errorf("%v for reason %d after %v, want a close for reason %d after %v",
				rec.Kind(), rec.CloseReason(), time.Duration(rec.Time()-begin), want.why, want.at)
		}
	}
	if st := r.Sessions.Stats(); st.Active != 0 || st.Closed != st.Created {
		t.Errorf("%+v", st)
	}
}
