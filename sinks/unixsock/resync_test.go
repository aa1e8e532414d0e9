package unixsock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// table reads session-table entries.
func (v *receiver) table(n int) {
	v.Helper()
	want := event.FrameSessionOpen
	if v.sink.Delta {
		want = eventstream.SessionUpdate
	}
	for range n {
		if f := v.frame(want); f.Seq() != 0 {
			v.Fatalf("entry of the table has number %d", f.Seq())
		}
	}
}

// tableEnd reads the end of the session table, which the delta layout does not have.
func (v *receiver) tableEnd() {
	v.Helper()
	if !v.sink.Delta {
		v.frame(eventstream.TableEnd)
	}
}

// wholeTable reads the session table and its end.
func (v *receiver) wholeTable(n int) {
	v.Helper()
	v.table(n)
	v.tableEnd()
}

// resync reads a FullResync of that number.
func (v *receiver) resync(want event.Seq) {
	v.Helper()
	if f := v.frame(eventstream.FullResync); f.Seq() != want {
		v.Fatalf("FullResync has number %d, want %d", f.Seq(), want)
	}
}

// TestP5ResyncAfterEviction connects a receiver when the ring does not hold what it needs any more: it is told first,
// gets the stream, and the live sessions when it has understood. The loss record stands at the end of the stream, and is
// told like any other loss of sessions.
func TestP5ResyncAfterEviction(t *testing.T) {
	for _, delta := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{Delta: delta})
			r.SetSessions(sessions(1000)...)
			r.Append(sessions(100)...)
			v := r.connect(1)
			v.records(1, 100)
			v.say(eventstream.Ack, 10)
			synctest.Wait()
			_ = v.conn.Close()
			<-r.done
			r.Evict(50)
			r.run()
			v = r.connect(11)
			v.resync(50)
			v.records(51, 100)
			if !delta {
				v.frame(event.FrameLoss) // of what was evicted: its numbers are those of records that the receiver has
			}
			v.nothing(9 * time.Second) // of the table, until it has understood
			v.say(eventstream.Ack, 49)
			v.nothing(900 * time.Millisecond)
			v.say(eventstream.Ack, 50)
			v.wholeTable(1000)
			v.resync(101) // for the loss record
			v.say(eventstream.Ack, 101)
			v.wholeTable(1000)
			r.Append(sessions(1)...)
			v.records(102, 102)
			v.say(eventstream.Ack, 102)
			synctest.Wait()
			r.hasAcked(102)
			_ = v.conn.Close()
			_ = r.again()
			r.Append(sessions(1)...)
			r.connect(103).records(103, 103)
			if r.counter("resyncs") != 2 || r.counter("resync_sessions") != 2000 {
				t.Errorf("%d resyncs with %d sessions", r.counter("resyncs"), r.counter("resync_sessions"))
			}
		})
	}
}

// TestP5FirstConnection checks that the gap before the first record is told as well.
func TestP5FirstConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		r.Append(sessions(10)...)
		r.Evict(5)
		v := r.connect(1)
		v.resync(4)
		v.say(eventstream.Ack, 4)
		v.frame(event.FrameLoss)
		v.records(6, 10)
		v.tableEnd()
		v.nothing(5 * time.Second) // the loss record says what the gap was
	})
}

// TestResyncIsOwed breaks the connection at every place of a resync: the next one begins with it again, until a record
// behind it was acknowledged. The gap ends with the loss record that an eviction leaves, which has no frame in delta mode.
func TestResyncIsOwed(t *testing.T) {
	for _, delta := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{Delta: delta})
			r.SetSessions(sessions(1000)...)
			r.Append(sessions(10)...)
			r.Evict(6)
			reconnect := func(v *receiver, first event.Seq) *receiver {
				t.Helper()
				synctest.Wait()
				_ = v.conn.Close()
				_ = r.again()
				return r.connect(first)
			}
			v := r.connect(1)
			v.resync(5)
			v = reconnect(v, 1) // it was not acknowledged
			next := event.Seq(6)
			if delta {
				next = 7 // neither what was evicted nor the loss record has a frame to be acknowledged
				v.resync(6)
			} else {
				v.resync(5)
				v.frame(event.FrameLoss)
			}
			v.records(7, 10)
			v.say(eventstream.Ack, next-1)
			v.table(10)
			v = reconnect(v, next) // in the middle of the table
			v.resync(next - 1)
			if !delta {
				v.frame(event.FrameLoss)
			}
			v.records(7, 10)
			v.say(eventstream.Ack, next-1)
			v.wholeTable(1000)
			v.say(eventstream.Ack, 9)
			v = reconnect(v, 10) // nothing behind the table was acknowledged
			v.resync(9)
			v.records(10, 10)
			v.say(eventstream.Ack, 9)
			v.wholeTable(1000)
			r.Append(sessions(1)...)
			v.records(11, 11)
			v.say(eventstream.Ack, 11)
			v = reconnect(v, 12)
			r.Append(sessions(1)...)
			v.records(12, 12)
			v.nothing(time.Second)
		})
	}
}

// TestDeltaResyncIsOwed breaks the connection when the receiver of the existing protocol has the table, and has
// acknowledged nothing behind it.
func TestDeltaResyncIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{Delta: true})
		r.SetSessions(sessions(1000)...)
		r.Append(sessions(10)...)
		r.Evict(6)
		v := r.connect(1)
		v.resync(5)
		v.records(7, 10)
		v.say(eventstream.Ack, 5)
		v.table(1000)
		synctest.Wait()
		_ = v.conn.Close()
		_ = r.again()
		v = r.connect(7)
		v.resync(6)
		v.records(7, 10)
		v.say(eventstream.Ack, 6)
		v.table(1000)
		r.Append(sessions(1)...)
		v.records(11, 11)
		v.say(eventstream.Ack, 11)
		synctest.Wait()
		_ = v.conn.Close()
		_ = r.again()
		r.Append(sessions(1)...)
		r.connect(12).records(12, 12)
	})
}

// TestOneTableForTwoLosses loses sessions twice before the table is sent: the second loss waits until the first table is
// complete, and if the connection ends before that, one resync at the beginning of the next covers both.
func TestOneTableForTwoLosses(t *testing.T) {
	for _, breaks := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{})
			r.SetSessions(sessions(500)...)
			r.Append(loss(event.SessionOpen), sessions(1)[0], loss(event.SessionOpen), sessions(1)[0])
			v := r.connect(1)
			v.records(1, 1)
			v.resync(1)
			v.records(2, 4)
			if breaks {
				v.say(eventstream.Ack, 3)
				synctest.Wait()
				_ = v.conn.Close()
				_ = r.again()
				v = r.connect(4)
				v.resync(3)
				v.records(4, 4)
				v.say(eventstream.Ack, 4)
				v.wholeTable(500)
				v.nothing(5 * time.Second)
				return
			}
			v.say(eventstream.Ack, 4)
			v.wholeTable(500)
			v.resync(4)
			v.say(eventstream.Ack, 4)
			v.wholeTable(500)
			v.nothing(5 * time.Second)
		})
	}
}

// TestResyncForEachLoss checks that a loss which comes later, behind nothing but the last one, is told as well, and that
// many losses at once do not make many resyncs.
func TestResyncForEachLoss(t *testing.T) {
	for _, delta := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{Delta: delta})
			r.SetSessions(sessions(3)...)
			r.Append(loss(event.SessionOpen))
			v := r.connect(1)
			lost := func(seq event.Seq) {
				t.Helper()
				if !delta {
					v.records(seq, seq)
				}
				v.resync(seq)
				v.say(eventstream.Ack, seq)
				v.wholeTable(3)
			}
			lost(1)
			time.Sleep(5 * time.Second)
			r.Append(loss(event.SessionOpen))
			lost(2)
			begun := time.Now()
			for range 50 {
				r.Append(loss(event.SessionClose))
			}
			if !delta {
				v.records(3, 52)
			}
			v.resync(52)
			if waited := time.Since(begun); waited != time.Second {
				t.Errorf("the next resync came after %v", waited)
			}
			v.say(eventstream.Ack, 52)
			v.wholeTable(3)
			v.nothing(5 * time.Second)
		})
	}
}

// TestDeltaGapAtTheEnd evicts telemetry, during a pause or between two runs, in delta mode, where neither it nor the loss
// record has a frame: the pipeline must not wait for an acknowledgement of them.
func TestDeltaGapAtTheEnd(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{Delta: true})
			r.Append(sessions(1)...)
			v := r.connect(1)
			v.records(1, 1)
			if fails {
				_ = v.conn.Close()
				<-r.done
			} else {
				v.say(eventstream.Pause, 0)
				v.say(eventstream.Ack, 1)
				synctest.Wait()
				r.hasAcked(1)
			}
			for i := range uint64(3) {
				r.Append(sinktest.Record(event.PolicyDeny, i))
			}
			r.EvictKinds(4, event.AllKinds)
			if fails {
				r.run()
				v = r.connect(1)
				v.records(1, 1)
				v.say(eventstream.Pause, 0)
				v.say(eventstream.Ack, 1)
			}
			v.say(eventstream.Resume, 0)
			r.Drain()
			if err := <-r.done; err != nil {
				t.Error(err)
			}
			r.hasAcked(4)
		})
	}
}

// TestP5GapInTheStream evicts session records behind some that an earlier run was handed and that stay: the gap is in the
// middle of what the next connection gets, and the loss record at its end is followed by a resync.
func TestP5GapInTheStream(t *testing.T) {
	for _, delta := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{Delta: delta})
			r.SetSessions(sessions(3)...)
			r.Append(sessions(5)...)
			v := r.connect(1)
			v.records(1, 5)
			_ = v.conn.Close()
			<-r.done
			r.Append(sessions(5)...)
			r.Append(sinktest.Record(event.PolicyDeny, 1))
			r.EvictKinds(11, event.KindSet(0).With(event.SessionOpen))
			r.run()
			v = r.connect(1)
			v.records(1, 5)
			if !delta {
				v.records(10, 10)
			}
			v.resync(10)
			v.records(11, 11)
			v.say(eventstream.Ack, 10)
			v.wholeTable(3)
			v.say(eventstream.Ack, 11)
			synctest.Wait()
			r.hasAcked(11)
		})
	}
}

// TestP5LossOfSessions checks that a loss of session records in the middle of a stream is followed by a resync, and one of
// other kinds by nothing.
func TestP5LossOfSessions(t *testing.T) {
	for _, k := range []event.Kind{event.SessionOpen, event.SessionClose} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{})
			r.SetSessions(sessions(3)...)
			r.Append(sessions(2)...)
			r.Append(loss(event.PolicyDeny), loss(k), sessions(1)[0])
			v := r.connect(1)
			v.records(1, 4) // the loss records among them
			v.resync(4)
			v.records(5, 5)
			v.nothing(time.Second)
			v.say(eventstream.Ack, 4)
			v.wholeTable(3)
		})
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{Delta: true})
			r.SetSessions(sessions(3)...)
			r.Append(sessions(2)...)
			r.Append(loss(event.PolicyDeny), loss(k), sessions(1)[0])
			v := r.connect(1)
			v.records(1, 2)
			v.resync(4) // in the place of the loss record
			v.records(5, 5)
			v.say(eventstream.Ack, 2)
			v.nothing(time.Second)
			r.hasAcked(3)
			v.say(eventstream.Ack, 4)
			v.table(3)
			v.say(eventstream.Ack, 5)
			synctest.Wait()
			r.hasAcked(5)
		})
	}
}

// TestOneResyncForOneLoss checks that the loss record at the end of a gap, which says what the gap was, is not a reason for
// a second resync.
func TestOneResyncForOneLoss(t *testing.T) {
	for _, delta := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{Delta: delta})
			r.SetSessions(sessions(3)...)
			r.Append(sessions(6)...)
			r.Evict(5)
			v := r.connect(1)
			v.resync(4)
			if !delta {
				v.frame(event.FrameLoss)
			}
			v.records(6, 6)
			v.say(eventstream.Ack, 6)
			v.wholeTable(3)
			v.nothing(5 * time.Second)
			synctest.Wait()
			r.hasAcked(6)
			if n := r.counter("resyncs"); n != 1 {
				t.Errorf("%d resyncs", n)
			}
		})
	}
}

// TestPauseDuringTable pauses the session table, and goes on exactly there.
func TestPauseDuringTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		r.SetSessions(sessions(2000)...)
		r.Append(loss(event.SessionOpen), sinktest.Record(event.PolicyDeny, 1))
		v := r.connect(1)
		v.records(1, 1)
		v.resync(1)
		v.records(2, 2)
		v.say(eventstream.Ack, 1)
		v.table(1)
		v.say(eventstream.Pause, 0)
		got := 1
		for { // what was being written still comes
			_ = v.conn.SetReadDeadline(time.Now().Add(time.Second))
			f, err := v.in.Next()
			if err != nil {
				break
			}
			if f.Seq() != 0 {
				t.Fatalf("record %d", f.Seq())
			}
			got++
		}
		_ = v.conn.SetReadDeadline(time.Time{})
		if got >= 2000 {
			t.Fatal("the pause held nothing")
		}
		v.say(eventstream.Resume, 0)
		v.wholeTable(2000 - got)
	})
}

// TestResyncIsOwedBehindSkipped breaks the connection in the middle of the table, when the records behind the resync have
// no frame: that they are passed over says nothing of what the receiver has.
func TestResyncIsOwedBehindSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{Delta: true})
		r.SetSessions(sessions(1000)...)
		r.Append(sessions(5)...)
		r.Append(loss(event.SessionOpen), loss(event.PolicyDeny), loss(event.PolicyDeny))
		v := r.connect(1)
		v.records(1, 5)
		v.resync(6)
		v.say(eventstream.Ack, 6)
		v.table(1000)
		synctest.Wait()
		r.hasAcked(8)
		_ = v.conn.Close()
		_ = r.again()
		v = r.connect(9)
		v.resync(8)
		v.say(eventstream.Ack, 8)
		v.table(1000)
		r.Append(sessions(1)...)
		v.records(9, 9)
		v.say(eventstream.Ack, 9)
		synctest.Wait()
		_ = v.conn.Close()
		_ = r.again()
		r.connect(10).nothing(time.Second)
	})
}

// TestP5LossBehindResync has sessions lost after they were listed, and the loss directly behind that: the list was too
// old.
func TestP5LossBehindResync(t *testing.T) {
	for _, delta := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{Delta: delta})
			r.SetSessions(sessions(3)...)
			r.Append(loss(event.SessionOpen))
			v := r.connect(1)
			for seq := event.Seq(1); seq <= 2; seq++ {
				if !delta {
					v.records(seq, seq)
				}
				v.resync(seq)
				v.say(eventstream.Ack, seq)
				v.wholeTable(3)
				r.Append(loss(event.SessionClose))
			}
		})
	}
}

// TestRecordsDuringTable checks that records go out while the table is written, and before the rest of it: the ring must not
// fill up for the table's sake.
func TestRecordsDuringTable(t *testing.T) {
	for _, delta := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{Delta: delta})
			const live = 20_000
			r.SetSessions(sessions(live)...)
			r.Append(loss(event.SessionOpen))
			v := r.connect(1)
			if !delta {
				v.records(1, 1)
			}
			v.resync(1)
			v.say(eventstream.Ack, 1)
			last, entries, most, since := event.Seq(1), 0, 0, 0
			for entries < live {
				f, err := v.in.Next()
				if err != nil {
					t.Fatal(err)
				}
				if f.Seq() > 0 {
					last, since = f.Seq(), 0
					v.say(eventstream.Ack, last)
					continue
				}
				if entries++; entries%1000 == 0 {
					r.Append(sessions(1)...)
				}
				if since++; since > most {
					most = since
				}
			}
			v.tableEnd()
			// A record waits for what is being written, of the table and to the socket.
			if last < live/1000-1 || most > 1000+2*(16<<10)/64 {
				t.Errorf("record %d came by the end of the table; %d entries without a record between", last, most)
			}
			if n := r.counter("resyncs"); n != 1 {
				t.Errorf("%d resyncs", n)
			}
		})
	}
}
