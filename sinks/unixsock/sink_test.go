package unixsock_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// TestConform holds the sink, with a receiver that takes everything, against what every sink owes the daemon.
func TestConform(t *testing.T) {
	for _, delta := range []bool{false, true} {
		sinktest.Conform(t, func(t *testing.T) sdk.Sink {
			path := filepath.Join(t.TempDir(), "events.sock")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					takeAll(conn)
				}
			}()
			t.Cleanup(func() { _ = l.Close(); <-done })
			return unixsock.New(unixsock.Config{Connector: unixsock.Dialer(path, unixsock.Peers{}), Delta: delta})
		})
	}
}

// TestRecordMode checks that a connection carries a hello and then the frames of the ring, byte for byte.
func TestRecordMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		all := sinktest.Records(1, 2000)
		r.Append(all...)
		v := r.connect(1)
		for i := range all {
			all[i].SetSeq(event.Seq(i + 1))
			f, err := v.in.Next()
			if err != nil || !bytes.Equal(f, all[i].Frame()) {
				t.Fatalf("record %d: %v", i+1, err)
			}
		}
		v.say(eventstream.Ack, 2000)
		synctest.Wait()
		r.hasAcked(2000)
	})
}

// TestDeltaMode checks that a receiver of the existing protocol gets nothing that it does not know: no hello, session
// frames in its layout, and for a loss a gap in the numbers, which an acknowledgement of the record before covers.
func TestDeltaMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{Delta: true})
		r.Append(loss(event.ScreenDrop)) // nothing before it that an acknowledgement could come for
		r.Append(sinktest.Record(event.SessionOpen, 1), sinktest.Record(event.SessionClose, 2), sinktest.Record(event.PolicyDeny, 3),
			loss(event.PolicyDeny), loss(event.FilterLog), sinktest.Record(event.FilterLog, 4), sinktest.Record(event.ScreenDrop, 5),
			loss(event.ScreenDrop))
		v := r.connect(1)
		type frame struct {
			typ event.FrameType
			seq event.Seq
		}
		var got []frame
		for range 5 {
			f, err := v.in.Next()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, frame{f.Type(), f.Seq()})
			var rec event.Record
			switch want := sinktest.Record(event.SessionOpen, 1); f.Type() {
			case eventstream.SessionOpen:
				if err := eventstream.DecodeDelta(f, &rec); err != nil || rec.Src() != want.Src() || rec.SrcPort() != want.SrcPort() {
					t.Errorf("session open: %v", err)
				}
			case eventstream.SessionClose:
				if err := eventstream.DecodeDelta(f, &rec); err != nil {
					t.Errorf("session close: %v", err)
				}
			}
		}
		want := []frame{{1, 2}, {2, 3}, {11, 4}, {13, 7}, {12, 8}}
		if !slices.Equal(got, want) {
			t.Fatalf("frames %v, want %v", got, want)
		}
		v.nothing(time.Second)
		r.hasAcked(1)
		v.say(eventstream.Ack, 3)
		synctest.Wait()
		r.hasAcked(3)
		v.say(eventstream.Ack, 4)
		synctest.Wait()
		r.hasAcked(6)
		v.say(eventstream.Ack, 8)
		synctest.Wait()
		r.hasAcked(9)
		v.say(eventstream.Ack, 9) // never sent
		if err := r.again(); err == nil || r.counter("bad_acks") != 1 {
			t.Errorf("an acknowledgement of a number without a frame: %v", err)
		}
	})
}

// TestP6HeldUntilAcknowledged checks that nothing but the receiver's acknowledgement releases a record.
func TestP6HeldUntilAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		v := r.connect(1)
		r.Append(sinktest.Records(1, 10)...)
		v.records(1, 10)
		synctest.Wait()
		r.hasAcked(0)
		for _, c := range []struct{ say, want event.Seq }{{0, 0}, {4, 4}, {2, 4}, {4, 4}, {10, 10}} {
			v.say(eventstream.Ack, c.say)
			synctest.Wait()
			r.hasAcked(c.want)
		}
		if r.counter("stale_acks") != 1 {
			t.Errorf("%d stale acknowledgements, want 1", r.counter("stale_acks"))
		}
		v.send(eventstream.AppendControl(nil, eventstream.Pause, 0)[:9]) // half a frame
		_ = v.conn.Close()
		if err := r.again(); err == nil {
			t.Error("a connection that ended is no error")
		}
		r.hasAcked(10)
	})
}

// TestReplay checks that each connection goes on behind the last acknowledgement.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		r.Append(sessions(5000)...)
		v := r.connect(1)
		v.records(1, 2500) // in the middle of a write
		v.say(eventstream.Ack, 1000)
		_ = v.conn.Close()
		_ = r.again()
		v = r.connect(1001)
		v.records(1001, 5000)
		v.say(eventstream.Ack, 5000)
		synctest.Wait()
		_ = v.conn.Close()
		_ = r.again()
		r.Append(sessions(1)...)
		v = r.connect(5001)
		v.records(5001, 5001)
		if n := r.counter("replayed"); n < 1500 || n > 4000 {
			t.Errorf("%d replayed: at least what was received twice", n)
		}
		if r.counter("connections") != 3 || r.counter("resyncs") != 0 {
			t.Errorf("%d connections and %d resyncs", r.counter("connections"), r.counter("resyncs"))
		}
	})
}

// TestPause checks that a pause holds everything but keepalives, and that resuming goes on exactly there.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		v := r.connect(1)
		r.Append(sessions(3)...)
		v.records(1, 3)
		v.say(eventstream.Pause, 0)
		v.say(eventstream.Pause, 0)
		v.say(eventstream.Ack, 3)
		synctest.Wait()
		r.Append(sessions(2000)...)
		v.nothing(9 * time.Second)
		if st := r.sink.Status().(unixsock.Status); st.State != unixsock.Paused {
			t.Errorf("state %q", st.State)
		}
		for range 10 {
			v.frame(eventstream.Keepalive)
		}
		r.hasAcked(3)
		v.say(eventstream.Resume, 0)
		v.records(4, 2003)
		if st := r.sink.Status().(unixsock.Status); st.State != unixsock.Streaming || r.counter("pauses") != 1 {
			t.Errorf("state %q after %d pauses", st.State, r.counter("pauses"))
		}
		// A pause ends with its connection.
		v.say(eventstream.Pause, 0)
		synctest.Wait()
		_ = v.conn.Close()
		_ = r.again()
		r.connect(4).records(4, 2003)
	})
}

// TestKeepalive checks that keepalives come in silence only.
func TestKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		begin := time.Now()
		v := r.connect(1)
		for i := range 5 {
			v.frame(eventstream.Keepalive)
			if got, want := time.Since(begin), time.Duration(i+1)*10*time.Second; got != want {
				t.Errorf("keepalive %d after %v", i, got)
			}
		}
		time.Sleep(9 * time.Second)
		r.Append(sessions(1)...)
		v.records(1, 1)
		v.say(eventstream.Ack, 1)
		v.nothing(9 * time.Second)
		v.frame(eventstream.Keepalive)
		v.say(eventstream.Keepalive, 0)
		v.nothing(9 * time.Second)
		if n := r.counter("keepalives"); n != 6 {
			t.Errorf("%d keepalives counted", n)
		}
	})
}

// TestDrainRequest checks when a drain request is answered.
func TestDrainRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		v := r.connect(1)
		complete := func(want event.Seq, within time.Duration) {
			t.Helper()
			begin := time.Now()
			if f := v.frame(eventstream.DrainComplete); f.Seq() != want || time.Since(begin) != within {
				t.Errorf("complete at %d after %v, want %d after %v", f.Seq(), time.Since(begin), want, within)
			}
		}
		v.say(eventstream.DrainRequest, 0)
		complete(0, 0)
		r.Append(sessions(100)...)
		v.records(1, 100)
		v.say(eventstream.DrainRequest, 50)
		complete(100, 0)
		// More than there is: no answer, unless it comes in time.
		v.say(eventstream.DrainRequest, 101)
		v.nothing(time.Second)
		if n := r.counter("drains_missed"); n != 1 {
			t.Errorf("%d missed", n)
		}
		v.say(eventstream.DrainRequest, 101)
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		r.Append(sessions(1)...)
		v.records(101, 101)
		complete(101, 0)
		// During a pause everything that is held is written, and the pause goes on.
		v.say(eventstream.Pause, 0)
		synctest.Wait()
		r.Append(sessions(1)...)
		v.nothing(time.Second)
		v.say(eventstream.DrainRequest, 101)
		v.records(102, 102)
		complete(102, 0)
		r.Append(sessions(1)...)
		v.nothing(time.Second)
		v.say(eventstream.DrainRequest, 200)
		v.records(103, 103)
		v.nothing(time.Second)
		r.Append(sessions(1)...)
		v.nothing(time.Second)
		v.say(eventstream.Resume, 0)
		v.records(104, 104)
		v.nothing(time.Second)
		if r.counter("drains") != 6 || r.counter("drains_missed") != 2 {
			t.Errorf("%d requests, %d missed", r.counter("drains"), r.counter("drains_missed"))
		}
	})
}

// TestFinish checks that a sink waits for acknowledgements when the pipeline stops, and then says that it is done.
func TestFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		v := r.connect(1)
		r.Append(sessions(10)...)
		r.Drain()
		v.records(1, 10)
		v.say(eventstream.Ack, 9)
		synctest.Wait()
		if st := r.sink.Status().(unixsock.Status); st.State != unixsock.Draining {
			t.Errorf("state %q", st.State)
		}
		v.nothing(9 * time.Second)
		v.frame(eventstream.Keepalive)
		v.say(eventstream.DrainRequest, 10)
		v.frame(eventstream.DrainComplete)
		v.say(eventstream.Ack, 10)
		if err := <-r.done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		r.hasAcked(10)
	})
}

// TestFinishPaused checks that a receiver which has asked for a pause does not keep a pipeline from stopping when there is
// nothing that the pause holds, and that what it does hold is held.
func TestFinishPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		r.Append(sessions(1)...)
		v := r.connect(1)
		v.records(1, 1)
		v.say(eventstream.Pause, 0)
		synctest.Wait()
		begin := time.Now()
		r.Drain()
		v.nothing(time.Second)
		v.say(eventstream.Ack, 1)
		if err := <-r.done; err == nil && time.Since(begin) == time.Second {
			return
		}
		t.Errorf("ended after %v", time.Since(begin))
	})
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		v := r.connect(1)
		v.say(eventstream.Pause, 0)
		synctest.Wait()
		r.Append(sessions(2000)...)
		r.Drain()
		v.nothing(9 * time.Second)
		v.say(eventstream.Resume, 0)
		v.records(1, 2000)
		v.say(eventstream.Ack, 2000)
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		r.hasAcked(2000)
	})
}

// TestDrainRequestsApart checks that a request which cannot be answered does not keep others from their answers.
func TestDrainRequestsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		v := r.connect(1)
		r.Append(sessions(3)...)
		v.records(1, 3)
		v.say(eventstream.Pause, 0)
		v.say(eventstream.DrainRequest, 1000)
		time.Sleep(100 * time.Millisecond)
		v.say(eventstream.DrainRequest, 3)
		begin := time.Now()
		if f := v.frame(eventstream.DrainComplete); f.Seq() != 3 || time.Since(begin) != 0 {
			t.Errorf("complete at %d after %v", f.Seq(), time.Since(begin))
		}
		for range 1000 { // more than are remembered
			v.say(eventstream.DrainRequest, 1000)
		}
		v.nothing(time.Second)
		if r.counter("drains") != 1002 || r.counter("drains_missed") != 1001 {
			t.Errorf("%d requests, %d missed", r.counter("drains"), r.counter("drains_missed"))
		}
	})
}

// TestDrainRequestInDeltaMode checks that the answer covers numbers without a frame: who waits for one of them would wait for ever.
func TestDrainRequestInDeltaMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{Delta: true})
		v := r.connect(1)
		r.Append(sessions(1)[0], loss(event.PolicyDeny))
		v.records(1, 1)
		v.say(eventstream.Ack, 1)
		synctest.Wait()
		r.hasAcked(2)
		v.say(eventstream.DrainRequest, 2)
		if f := v.frame(eventstream.DrainComplete); f.Seq() != 2 {
			t.Errorf("complete at %d, want 2", f.Seq())
		}
	})
}

// TestSlowReceiver checks that a receiver which takes a little all the time is not taken for dead.
func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{Silence: time.Second})
		r.Append(sessions(2000)...)
		v := r.connect(1)
		b := make([]byte, event.MaxFrame)
		for seq := event.Seq(1); seq <= 2000; seq++ {
			if _, err := io.ReadFull(v.conn, b); err != nil {
				t.Fatalf("record %d: %v", seq, err)
			}
			v.say(eventstream.Ack, seq-1)
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// TestHostileFlood checks that nothing a receiver floods the sink with makes it keep memory, or holds up its records.
func TestHostileFlood(t *testing.T) {
	for _, typ := range []event.FrameType{
		eventstream.Ack, eventstream.Pause, eventstream.DrainRequest, eventstream.Keepalive, eventstream.Resume, 77,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{})
			v := r.connect(1)
			go func() { _, _ = io.Copy(io.Discard, v.conn) }()
			frame := eventstream.AppendControl(nil, typ, 0)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for range 50_000 {
				v.send(frame)
			}
			synctest.Wait()
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
				t.Errorf("type %d: %d bytes are kept", typ, grown)
			}
			v.say(eventstream.Resume, 0)
			r.Append(sessions(1)...)
			synctest.Wait()
			v.say(eventstream.Ack, 1)
			synctest.Wait()
			r.hasAcked(1)
		})
	}
}

// TestHostile checks what becomes of receivers that are wrong or gone: an error that says so, within the time allowed,
// and nothing acknowledged that was not.
func TestHostile(t *testing.T) {
	const silence = 30 * time.Second
	ack := func(seq event.Seq) []byte { return eventstream.AppendControl(nil, eventstream.Ack, seq) }
	for _, c := range []struct {
		name    string
		behave  func(v *receiver)
		want    string // in the error
		counter string
		acked   event.Seq
		after   time.Duration
	}{
		{"acknowledges the future", func(v *receiver) { v.records(1, 10); v.send(ack(11)) }, "acknowledges 11", "bad_acks", 0, 0},
		{"acknowledges far beyond", func(v *receiver) { v.send(ack(1 << 63)) }, "acknowledges 9223372036854775808", "bad_acks", 0, 0},
		{"good, then bad", func(v *receiver) { v.records(1, 10); v.send(append(ack(5), ack(99)...)) }, "acknowledges 99", "bad_acks", 5, 0},
		{"oversized", func(v *receiver) {
			v.send(eventstream.AppendFrame(nil, eventstream.Ack, event.MaxPayload+1, 1))
		}, "does not speak the protocol", "malformed_frames", 0, 0},
		{"never acknowledges", func(v *receiver) { v.records(1, 10) }, "has said nothing for 30s and owes acknowledgements: 1 to 10", "silent_receivers", 0, silence},
		{"never reads", func(*receiver) {}, "", "silent_receivers", 0, silence},
		{"half a frame for ever", func(v *receiver) {
			v.records(1, 10)
			for _, b := range ack(10)[:15] {
				v.send([]byte{b})
				time.Sleep(time.Second)
			}
		}, "has said nothing for 30s", "silent_receivers", 0, silence},
		{"says things that mean nothing", func(v *receiver) {
			v.records(1, 10)
			for range 29 {
				v.send(append(eventstream.AppendFrame(nil, 77, 500, 1), make([]byte, 500)...))
				time.Sleep(time.Second)
			}
		}, "has said nothing for 30s", "silent_receivers", 0, silence},
		{"says that it is there, and dies", func(v *receiver) {
			v.records(1, 10)
			v.send(ack(3))
			go func() { _, _ = io.Copy(io.Discard, v.conn) }()
			for range 10 {
				time.Sleep(20 * time.Second)
				v.say(eventstream.Keepalive, 0)
			}
		}, "owes acknowledgements: 4 to 10", "silent_receivers", 3, 200*time.Second + silence},
		{"vanishes", func(v *receiver) { v.records(1, 10); _ = v.conn.Close() }, "has closed the connection", "", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				warnings := 0
				r := start(t, unixsock.Config{Silence: silence, Warn: func(string, ...any) { warnings++ }})
				r.Append(sessions(10)...)
				v := r.connect(1)
				go func() { // whatever else comes is read, unless nothing is
					c.behave(v)
					if c.name != "never reads" {
						_, _ = v.conn.Read(make([]byte, 1<<16))
					}
				}()
				begin := time.Now()
				err := r.again()
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				if got := time.Since(begin); got != c.after {
					t.Errorf("after %v, want %v", got, c.after)
				}
				if c.counter != "" && r.counter(c.counter) != 1 {
					t.Errorf("%s is %d", c.counter, r.counter(c.counter))
				}
				r.hasAcked(c.acked)
				if c.name == "says things that mean nothing" && (warnings != 1 || r.counter("unknown_frames") != 29) {
					t.Errorf("%d warnings for %d unknown frames", warnings, r.counter("unknown_frames"))
				}
				r.connect(c.acked+1).records(c.acked+1, 10) // the next receiver gets what this one did not
			})
		})
	}
}

// TestIdleReceiver checks that a receiver which owes nothing may be silent for ever, and that the time begins anew when it
// does owe something.
func TestIdleReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{Silence: 30 * time.Second})
		v := r.connect(1)
		for range 3 {
			for range 10 {
				v.frame(eventstream.Keepalive)
			}
			from := r.Acked() + 1
			r.Append(sessions(1)...)
			v.records(from, from)
			v.nothing(9 * time.Second)
			v.frame(eventstream.Keepalive)
			v.nothing(9 * time.Second)
			v.frame(eventstream.Keepalive)
			v.nothing(9 * time.Second)
			v.say(eventstream.Ack, from)
		}
	})
}

// TestStops checks that the sink ends with its context, whatever it is waiting for.
func TestStops(t *testing.T) {
	for name, prepare := range map[string]func(r *rig){
		"connecting": func(*rig) {},
		"idle":       func(r *rig) { r.connect(1) },
		"paused":     func(r *rig) { r.connect(1).say(eventstream.Pause, 0) },
		"writing":    func(r *rig) { r.Append(sessions(5000)...); r.connect(1) },
		"resyncing": func(r *rig) {
			r.Append(loss(event.SessionOpen))
			v := r.connect(1)
			v.frame(event.FrameLoss)
			v.frame(eventstream.FullResync)
		},
		"finishing": func(r *rig) {
			v := r.connect(1)
			r.Append(sessions(1)...)
			r.Drain()
			v.records(1, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, unixsock.Config{})
				prepare(r)
				synctest.Wait()
				r.stop()
				synctest.Wait()
				select {
				case err := <-r.done:
					if err == nil {
						t.Error("no error")
					}
				default:
					t.Error("does not stop")
				}
			})
		})
	}
}

// TestNobodyThere checks that a sink without a receiver does not keep a pipeline from stopping.
func TestNobodyThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, unixsock.Config{})
		synctest.Wait()
		r.Drain()
		if err := <-r.done; err == nil || errors.Is(err, sdk.ErrDrained) {
			t.Errorf("Run = %v", err)
		}
	})
}
