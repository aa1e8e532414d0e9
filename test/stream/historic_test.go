package stream

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// peer is a receiver that acknowledges when it is told to.
type peer struct {
	testing.TB
	conn net.Conn
	in   *eventstream.Reader
}

// newPeer listens, and accept waits for the sink.
func newPeer(tb testing.TB) (path string, accept func() *peer) {
	path = filepath.Join(tb.TempDir(), "s")
	l, err := eventstream.ListenUnix(path, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return path, func() *peer {
		tb.Helper()
		conn, err := l.Accept()
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			tb.Fatal(err)
		}
		p := &peer{tb, conn, eventstream.NewReader(conn, 1<<18)}
		if f, err := p.in.Next(); err != nil || f.Type() != eventstream.HelloFrame {
			tb.Fatalf("no hello: %v", err)
		}
		return p
	}
}

// records reads the records with the numbers from..to.
func (p *peer) records(from, to event.Seq) (kinds [event.NumKinds]int) {
	p.Helper()
	for seq := from; seq <= to; seq++ {
		f, err := p.in.Next()
		if err != nil || f.Seq() != seq {
			p.Fatalf("want record %d, got %v, %v", seq, f, err)
		}
		var rec event.Record
		if _, err := rec.Decode(f); err != nil {
			p.Fatal(err)
		}
		kinds[rec.Kind()]++
	}
	return kinds
}

// takeRest reads and acknowledges until the sink closes the connection, and gives the number of frames by type.
func (p *peer) takeRest() <-chan map[event.FrameType]int {
	done := make(chan map[event.FrameType]int, 1)
	go func() {
		got := make(map[event.FrameType]int)
		for {
			f, err := p.in.Next()
			if err != nil {
				done <- got
				return
			}
			got[f.Type()]++
			// A sink that has all its acknowledgements closes, and does not wait for one that is given twice. What it wrote before is
			// still to be read.
			_, _ = p.conn.Write(eventstream.AppendControl(nil, eventstream.Ack, f.Seq()))
		}
	}()
	return done
}

func (p *peer) ack(through event.Seq) {
	p.Helper()
	if _, err := p.conn.Write(eventstream.AppendControl(nil, eventstream.Ack, through)); err != nil {
		p.Fatal(err)
	}
}

// TestP6HistoricBudgetReturnedBeforeAck: records that the receiver has read, and those that sit in the socket, are still
// in flight. Only an acknowledgement makes room for another.
func TestP6HistoricBudgetReturnedBeforeAck(t *testing.T) {
	path, accept := newPeer(t)
	r := newRig(t, path, replay.Limits{Slots: 64, Telemetry: 32, PerKind: 16})
	p := accept()
	overBudget := func(want uint64) {
		t.Helper()
		if got := r.gate.Ledger().Sinks[0].OverBudget[event.PolicyDeny]; got != want {
			t.Fatalf("%d denials refused, want %d", got, want)
		}
	}
	r.offer(event.PolicyDeny, 16)
	overBudget(0)
	p.records(1, 10) // the rest is in the socket, or in the reader
	r.offer(event.PolicyDeny, 1)
	overBudget(1)
	p.records(11, 16)
	r.offer(event.PolicyDeny, 1)
	overBudget(2)
	p.ack(1)
	until(t, "the acknowledgement", func() bool { return r.ring.Floor() == 2 })
	r.offer(event.PolicyDeny, 2)
	overBudget(3)
	if kinds := p.records(17, 18); kinds[event.Loss] != 1 || kinds[event.PolicyDeny] != 1 {
		t.Errorf("after the refusals: %v", kinds)
	}
	// A connection that breaks gives nothing back either.
	_ = p.conn.Close()
	p = accept()
	r.offer(event.PolicyDeny, 1)
	overBudget(4)
	p.records(2, 18)
	p.ack(18)
	rest := p.takeRest()
	r.finish()
	if got := <-rest; got[event.FrameLoss] != 1 || len(got) != 1 {
		t.Errorf("after the last refusals: frames %v, want one loss record", got)
	}
}

// TestP3HistoricStormDisplacesSessions: a storm of three kinds in 64 zones, whose acknowledgements are held back, must
// neither keep session records out of the ring nor push any out of it.
func TestP3HistoricStormDisplacesSessions(t *testing.T) {
	path, accept := newPeer(t)
	limits := replay.Limits{Slots: 1024, Telemetry: 512, PerKind: 200}
	r := newRig(t, path, limits)
	p := accept()
	r.offer(event.SessionOpen, 10) // before the storm
	storm := func() {
		for range 50 {
			for _, k := range []event.Kind{event.PolicyDeny, event.ScreenDrop, event.FilterLog} {
				r.offer(k, zones)
			}
		}
	}
	storm()
	const during = 300
	for range during {
		r.offer(event.SessionClose, 1)
		r.offer(event.FilterLog, zones)
	}
	q := r.gate.Ledger().Sinks[0]
	if q.OverBudget[event.SessionOpen]+q.OverBudget[event.SessionClose] != 0 {
		t.Fatalf("session records were refused: %v", q.OverBudget)
	}
	telemetry := q.Queued[event.PolicyDeny] + q.Queued[event.ScreenDrop] + q.Queued[event.FilterLog]
	if telemetry != uint64(limits.Telemetry) {
		t.Errorf("%d telemetry records in flight, want all of %d", telemetry, limits.Telemetry)
	}
	// They do not wait behind the storm either: all are there while nothing is acknowledged yet.
	queued := event.Seq(10 + during + telemetry + q.Queued[event.Loss])
	if kinds := p.records(1, queued); kinds[event.SessionOpen] != 10 || kinds[event.SessionClose] != during {
		t.Errorf("received %v", kinds)
	}
	// Up to the last slot a session record is taken, and only then refused.
	free := limits.Slots - int(queued)
	r.offer(event.SessionOpen, free)
	if got := r.gate.Ledger().Sinks[0]; got.OverBudget[event.SessionOpen] != 0 {
		t.Errorf("%d session records were refused with %d slots free", got.OverBudget[event.SessionOpen], free)
	}
	r.offer(event.SessionOpen, 1)
	if got := r.gate.Ledger().Sinks[0].OverBudget[event.SessionOpen]; got != 1 {
		t.Errorf("%d session records were refused by a full ring, want 1", got)
	}
	// The receiver comes back without having acknowledged anything: everything is still there.
	_ = p.conn.Close()
	p = accept()
	all := event.Seq(limits.Slots)
	if kinds := p.records(1, all); kinds[event.SessionOpen] != 10+free || kinds[event.SessionClose] != during {
		t.Errorf("after the reconnect: %v", kinds)
	}
	p.ack(all)
	rest := p.takeRest()
	r.finish()
	// What the ring could not take is told at the end, and sessions are among it.
	if got := <-rest; got[event.FrameLoss] != 1 || got[eventstream.FullResync] != 1 || got[eventstream.TableEnd] != 1 || len(got) != 3 {
		t.Errorf("at the end: frames %v, want a loss record, a resync and its end", got)
	}
}
