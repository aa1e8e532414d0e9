package worker

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestLeft gives a worker sessions of an earlier run that have ended: they are told first, in the order of their ends, however many, and the
// ids of new sessions are higher than theirs.
func TestLeft(t *testing.T) {
	r := newRig(t, func(_ *Config, sessions *session.Config) { sessions.FirstID = 5000 })
	const n = 3 * admission.MaxBatch
	var left []session.Session
	for i := range n {
		left = append(left, session.Session{ID: uint64(n - i), Closed: start + int64(i), LogClose: true, Wanted: true, Reason: event.CloseAgeOut})
	}
	r.End(left, start, start+wallOffset)
	r.batch(timed{time.Second, udpFrame(t, "192.0.2.1", 1, "198.51.100.1", 53, 10), ""})
	records := r.run()
	if len(records) != n+1 {
		t.Fatalf("%d records, want %d", len(records), n+1)
	}
	for i := range n {
		if rec := &records[i]; rec.Kind() != event.SessionClose || rec.SessionID() != uint64(n-i) || rec.CloseReason() != event.CloseAgeOut {
			t.Fatalf("record %d: %v of session %d", i, rec.Kind(), rec.SessionID())
		}
	}
	if open := &records[n]; open.Kind() != event.SessionOpen || open.SessionID() <= 5000 || r.Sessions.HighestID() < open.SessionID() {
		t.Errorf("%v of session %d, the highest is %d", open.Kind(), open.SessionID(), r.Sessions.HighestID())
	}
}

// TestLeftWithoutPackets gives a worker sessions of an earlier run that have ended, and a source that fails or ends before it has received
// anything: they are told nevertheless, when they ended.
func TestLeftWithoutPackets(t *testing.T) {
	for name, end := range map[string]error{"fails": errBroken, "ends": io.EOF} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.source.err = end
			r.End([]session.Session{{ID: 3, Closed: start, LogClose: true, Reason: event.CloseAgeOut}}, start, start+wallOffset)
			if err := r.Run(t.Context()); err != nil && !errors.Is(err, end) {
				t.Fatal(err)
			}
			r.checkP1()
			records := r.drain()
			if len(records) != 1 || records[0].SessionID() != 3 || records[0].Time() != start+wallOffset {
				t.Errorf("records %v, want the end of session 3 at %d", lines(records), start+wallOffset)
			}
		})
	}
}
