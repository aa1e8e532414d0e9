package conntrack

import (
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/ctmessage"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// replay is a socket that brings the same messages over and over.
type replay struct {
	messages [][]byte
	next     int
	first    int // in messages, of the last Receive
}

func (r *replay) FD() int                { return -1 }
func (r *replay) NextSeq() uint32        { return 1 }
func (r *replay) Send([]byte) error      { return nil }
func (r *replay) Drops() (uint32, error) { return 0, nil }
func (r *replay) Skipped() uint64        { return 0 }
func (r *replay) Close() error           { return nil }
func (r *replay) Datagram(i int) []byte  { return r.messages[r.first+i] }

func (r *replay) Receive() (int, error) {
	if r.next == len(r.messages) {
		r.next = 0
	}
	r.first = r.next
	r.next = min(r.next+nfnetlink.Datagrams, len(r.messages))
	return r.next - r.first, nil
}

// echo is a socket that answers every request with an entry.
type echo struct {
	replay
	seq    uint32
	answer []byte
	left   int
}

func (e *echo) NextSeq() uint32 { e.seq++; return e.seq }

func (e *echo) Send(b []byte) error {
	e.left = 0
	for m, rest, ok := nfnetlink.NextMessage(b); ok; m, rest, ok = nfnetlink.NextMessage(rest) {
		if e.left == 0 {
			binary.NativeEndian.PutUint32(e.answer[8:], m.Seq)
		}
		e.left++
	}
	return nil
}

func (e *echo) Receive() (int, error) {
	n := e.left
	e.left = 0
	return n, nil
}

// Datagram counts the sequence number up.
func (e *echo) Datagram(i int) []byte {
	if i > 0 {
		binary.NativeEndian.PutUint32(e.answer[8:], binary.NativeEndian.Uint32(e.answer[8:])+1)
	}
	return e.answer
}

// replayed returns a stream that reads the whole lives of sessions over and over, and how many messages a life has. With tcp each
// is a TCP connection whose counters are asked for.
func replayed(lives int, isTCP bool) (s *Stream, perLife int) {
	r := new(replay)
	steps := []ctnetlink.State{ctnetlink.NoState}
	if isTCP {
		steps = []ctnetlink.State{ctnetlink.SynRecv, ctnetlink.Established, ctnetlink.FinWait, ctnetlink.LastAck, ctnetlink.TimeWait}
	}
	// 64 of them live at the same time.
	for first := 0; first < lives; first += 64 {
		entries := make([]*ctnetlink.Entry, 64)
		add := func(kind ctnetlink.Kind, change func(e *ctnetlink.Entry)) {
			for i := range entries {
				if entries[i] == nil {
					entries[i] = tcp(first + i)
					entries[i].ID = 1 // as in the answer
					if !isTCP {
						entries[i].Orig.Proto, entries[i].Reply.Proto = packet.ProtoUDP, packet.ProtoUDP
					}
				}
				change(entries[i])
				r.messages = append(r.messages, ctmessage.Append(nil, kind, 0, entries[i]))
			}
		}
		add(ctnetlink.New, func(e *ctnetlink.Entry) { e.Counted = false })
		for _, state := range steps {
			add(ctnetlink.Update, func(e *ctnetlink.Entry) { e.State, e.Status = state, ctnetlink.SeenReply })
		}
		add(ctnetlink.Destroy, func(e *ctnetlink.Entry) { e.Counted, e.Start, e.Stop = true, startTime, startTime+1 })
	}
	answer := tcp(0)
	answer.ID, answer.State, answer.Start = 1, ctnetlink.TimeWait, startTime
	s = &Stream{
		atEnd: true, asks: make([]ask, 0, maxAsks), requests: make([]byte, 0, maxAsks*256), sessions: newSessions(1 << 18), events: r,
		asking: &echo{answer: ctmessage.AppendAnswer(nil, 0, 0, answer)}, resync: newResync(nil, 0),
	}
	s.resync.wanted = false
	return s, len(steps) + 2
}

// BenchmarkEvents measures an event of a UDP session, of which there are three, and of a TCP connection, of which there are seven
// and an answer: without the kernel's part.
func BenchmarkEvents(b *testing.B) {
	for _, c := range []struct {
		name  string
		isTCP bool
	}{{"udp", false}, {"tcp", true}} {
		b.Run(c.name, func(b *testing.B) {
			s, _ := replayed(1<<14, c.isTCP)
			var batch source.EventBatch
			b.ReportAllocs()
			b.ResetTimer()
			for now := int64(1); s.counters.messages.Load() < uint64(b.N); now++ {
				if _, err := s.Read(&batch, now, startTime+now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkKernel measures an event as the kernel sends it, with the kernel's part of the reading: half of them begin a session, half
// end one.
func BenchmarkKernel(b *testing.B) {
	nettest.Require(b)
	host := nettest.NewHost(b)
	var opened *Source
	var request *nfnetlink.Socket
	var err error
	host.Do(func() {
		if opened, err = Open(Config{AtEnd: true, Buffer: 64 << 20}); err == nil {
			request, err = nfnetlink.Open()
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := errors.Join(opened.Close(), request.Close()); err != nil {
			b.Error(err)
		}
	}()
	var batch source.EventBatch
	s := opened.stream
	now := int64(1)
	read := func(done func() bool) {
		for ; !done(); now++ {
			if _, err := s.Read(&batch, now, startTime+now); err != nil {
				b.Fatal(err)
			}
		}
	}
	read(func() bool { return !s.resync.first && s.resync.sweep == 0 })

	const entries = 8192
	var requests [][]byte
	for first := 1; first <= entries; first += 64 {
		var together []byte
		for n := first; n < first+64; n++ {
			e := udp(n)
			e.Counted, e.Timeout, e.Status = false, 3600, 1<<3 // IPS_CONFIRMED, as the kernel demands
			together = ctmessage.AppendCreate(together, uint32(n), e)
		}
		requests = append(requests, together)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var used time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	for events := 0; events < b.N; events += 2 * entries {
		for _, together := range requests {
			if err := request.Send(together); err != nil {
				b.Fatal(err)
			}
		}
		if err := request.Execute(ctmessage.AppendFlush(nil, uint32(entries+1+events)), patience, nil); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		start := nettest.ThreadCPU(b)
		read(func() bool { return s.counters.messages.Load() >= uint64(events+2*entries) })
		used += nettest.ThreadCPU(b) - start
		b.StopTimer()
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(s.counters.messages.Load()), "cpu-ns/event")
	if c := &s.counters; c.lost.Load() != 0 || c.ended.Load() != c.messages.Load()/2 {
		b.Errorf("%d events, %d lost, %d sessions ended", c.messages.Load(), c.lost.Load(), c.ended.Load())
	}
}

func TestReadDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	for _, isTCP := range []bool{false, true} {
		s, perLife := replayed(256, isTCP)
		var batch source.EventBatch
		read := func() {
			if _, err := s.Read(&batch, 1, startTime); err != nil {
				t.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(200, read); n != 0 {
			t.Errorf("TCP %v: %v allocations", isTCP, n)
		}
		c := &s.counters
		if lives := c.messages.Load() / uint64(perLife); lives < 1000 || c.ended.Load() < lives*9/10 || c.closedUnseen.Load() != 0 || c.unknown.Load() != 0 {
			t.Errorf("TCP %v: %d lives, %d ended, %d unseen, %d unknown", isTCP, lives, c.ended.Load(), c.closedUnseen.Load(), c.unknown.Load())
		}
		checkSums(t, s)
	}
}

// TestReadDoesNotAllocateWhenFull does so with a table that is full.
func TestReadDoesNotAllocateWhenFull(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	s, _ := replayed(1024, false)
	s.sessions = newSessions(4)
	var batch source.EventBatch
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Read(&batch, 1, startTime) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	checkSums(t, s)
}
