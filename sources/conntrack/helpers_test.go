package conntrack

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/ctmessage"
)

// kernel is a connection tracking that a test plays: a table, and events that a full queue drops as the real one does.
type kernel struct {
	t       testing.TB
	entries []*ctnetlink.Entry // the table
	queue   [][]byte
	room    int // of the queue
	// As of a netlink socket: while congested, everything is dropped.
	congested, overrun bool
	drops              uint32
	dump               [][]byte // keys of the entries that a dump has yet to bring
	dumpSeq            uint32
	dumping            bool
	interrupt          bool   // the next end of a dump says that it was interrupted
	disturb            func() // called before each Receive; may be nil
	answers            [][]byte
	unanswered         int // so many requests for entries get no answer
	dials              int
}

func newKernel(t testing.TB) *kernel { return &kernel{t: t, room: 1 << 20} }

// send sends an event.
func (k *kernel) send(kind ctnetlink.Kind, port uint32, e *ctnetlink.Entry) {
	if k.congested || len(k.queue) >= k.room {
		if !k.congested {
			k.congested, k.overrun = true, true
		}
		k.drops++
		return
	}
	k.queue = append(k.queue, ctmessage.Append(nil, kind, port, e))
}

// begin makes an entry.
func (k *kernel) begin(e *ctnetlink.Entry) *ctnetlink.Entry {
	k.entries = append(k.entries, e)
	told := *e
	told.Counted, told.Start = false, 0
	k.send(ctnetlink.New, 0, &told)
	return e
}

// change sends that an entry has changed.
func (k *kernel) change(e *ctnetlink.Entry, status ctnetlink.Status, state ctnetlink.State) {
	e.Status |= status
	e.State = state
	told := *e
	told.Counted, told.Start = false, 0
	k.send(ctnetlink.Update, 0, &told)
}

// destroy removes an entry.
func (k *kernel) destroy(e *ctnetlink.Entry, port uint32) {
	k.send(ctnetlink.Destroy, port, e)
	k.forget(e)
}

// forget removes an entry without an event.
func (k *kernel) forget(e *ctnetlink.Entry) {
	k.entries = slices.DeleteFunc(k.entries, func(other *ctnetlink.Entry) bool { return other == e })
}

func (k *kernel) find(e *ctnetlink.Entry) *ctnetlink.Entry {
	for _, other := range k.entries {
		if other.Orig == e.Orig && other.Zone == e.Zone {
			return other
		}
	}
	return nil
}

// fakeSocket is one of the sockets of a stream.
type fakeSocket struct {
	k        *kernel
	receive  func() ([]byte, error) // nil: nothing
	most     int
	received [][]byte
	seq      uint32
}

func (f *fakeSocket) FD() int                { return -1 }
func (f *fakeSocket) NextSeq() uint32        { f.seq++; return f.seq }
func (f *fakeSocket) Datagram(i int) []byte  { return f.received[i] }
func (f *fakeSocket) Drops() (uint32, error) { return f.k.drops, nil }
func (f *fakeSocket) Skipped() uint64        { return 0 }
func (f *fakeSocket) Close() error           { return nil }

func (f *fakeSocket) Receive() (int, error) {
	if f.k.disturb != nil {
		f.k.disturb()
	}
	f.received = f.received[:0]
	for len(f.received) < f.most {
		b, err := f.receive()
		if err != nil {
			return 0, err
		}
		if b == nil {
			break
		}
		f.received = append(f.received, b)
	}
	return len(f.received), nil
}

func (f *fakeSocket) Send(b []byte) error {
	if f.k.disturb != nil {
		f.k.disturb()
	}
	for m, rest, ok := nfnetlink.NextMessage(b); ok; m, rest, ok = nfnetlink.NextMessage(rest) {
		if m.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
			f.k.startDump(m.Seq)
			continue
		}
		reply := slices.Clone(m.Attrs) // what asks has no reply; decoded with the same tuple twice
		reply[2] = 2
		m.Type, m.Attrs = unix.NFNL_SUBSYS_CTNETLINK<<8, append(slices.Clone(m.Attrs), reply...)
		var wanted ctnetlink.Entry
		if !ctnetlink.Decode(&m, &wanted) {
			f.k.t.Fatalf("malformed request %x", b)
		}
		if f.k.unanswered > 0 {
			f.k.unanswered--
		} else if e := f.k.find(&wanted); e != nil {
			f.k.answers = append(f.k.answers, ctmessage.AppendAnswer(nil, m.Seq, 0, e))
		} else {
			f.k.answers = append(f.k.answers, ctmessage.AppendError(nil, m.Seq, unix.ENOENT))
		}
	}
	return nil
}

func (k *kernel) event() ([]byte, error) {
	if k.overrun {
		k.overrun = false
		return nil, nfnetlink.ErrOverrun
	}
	return k.take(&k.queue), nil
}

// take takes the first of a queue.
func (k *kernel) take(queue *[][]byte) []byte {
	if len(*queue) == 0 {
		return nil
	}
	first := (*queue)[0]
	*queue = (*queue)[1:]
	if queue == &k.queue && len(*queue) == 0 {
		k.congested = false
	}
	return first
}

func (k *kernel) startDump(seq uint32) {
	k.dumping, k.dumpSeq = true, seq
	k.dump = nil
	for _, e := range k.entries {
		k.dump = append(k.dump, ctnetlink.AppendGet(nil, 0, e))
	}
}

// piece makes a part of a dump, of two entries at most: of what is in the table now.
func (k *kernel) piece() ([]byte, error) {
	if !k.dumping {
		return nil, nil
	}
	var b []byte
	for n := 0; len(k.dump) > 0 && n < 2; {
		key := k.take(&k.dump)
		for _, e := range k.entries {
			if slices.Equal(key, ctnetlink.AppendGet(nil, 0, e)) {
				b = ctmessage.AppendAnswer(b, k.dumpSeq, unix.NLM_F_MULTI, e)
				n++
			}
		}
	}
	if len(k.dump) == 0 {
		var flags uint16
		if k.interrupt {
			flags, k.interrupt = unix.NLM_F_DUMP_INTR, false
		}
		b = ctmessage.AppendDone(b, k.dumpSeq, flags)
		k.dumping = false
	}
	return b, nil
}

// player is a stream with a kernel that a test plays.
type player struct {
	*kernel
	stream *Stream
	batch  source.EventBatch
	clock  int64
}

const startTime = int64(1_700_000_000_000_000_000)

func play(t testing.TB, limit int) *player {
	k := newKernel(t)
	dial := func() (socket, error) {
		k.dials++
		k.dumping, k.dump = false, nil
		return &fakeSocket{k: k, receive: k.piece, most: dumpPieces}, nil
	}
	s := &Stream{
		atEnd: true, asks: make([]ask, 0, maxAsks), sessions: newSessions(limit), resync: newResync(dial, startTime),
		events: &fakeSocket{k: k, receive: k.event, most: nfnetlink.Datagrams},
		asking: &fakeSocket{k: k, receive: func() ([]byte, error) { return k.take(&k.answers), nil }, most: maxAsks},
	}
	s.quiet = startTime
	s.dumping, _ = dial()
	return &player{kernel: k, stream: s, clock: 1}
}

// settle reads until there is nothing to be done, and returns the events.
func (p *player) settle() (events []source.Event) {
	p.t.Helper()
	for range 10_000 {
		some, again := p.step()
		events = append(events, some...)
		if again != 0 && len(p.queue) == 0 && !p.overrun {
			if again < 0 || again > stallPeriod && !p.stream.resync.wanted {
				return events
			}
			p.clock += int64(again)
		}
	}
	p.t.Fatal("does not settle")
	return nil
}

// step reads once.
func (p *player) step() ([]source.Event, time.Duration) {
	p.t.Helper()
	p.clock++
	again, err := p.stream.Read(&p.batch, p.clock, startTime+p.clock)
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.Clone(p.batch.Events[:p.batch.N]), again
}

// tcp returns a connection: the entry number n.
func tcp(n int) *ctnetlink.Entry {
	e := &ctnetlink.Entry{ID: uint32(n), State: ctnetlink.SynSent, Timeout: 120, Counted: true}
	e.Orig = packet.Tuple{
		Src: packet.Addr{10, byte(n >> 16), byte(n >> 8), byte(n)}, Dst: packet.Addr{192, 0, 2, 1}, SrcPort: 1000, DstPort: 443,
		Proto: packet.ProtoTCP, Family: packet.IPv4,
	}
	e.Reply = e.Orig.Reverse()
	return e
}

func udp(n int) *ctnetlink.Entry {
	e := tcp(n)
	e.State = ctnetlink.NoState
	e.Orig.Proto, e.Reply.Proto = packet.ProtoUDP, packet.ProtoUDP
	return e
}

// whats returns what has happened.
func whats(events []source.Event) (list []source.What) {
	for i := range events {
		list = append(list, events[i].What)
	}
	return list
}
