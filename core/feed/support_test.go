package feed

import (
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

// Zones of every test: 192.0.2.0/24 and lan0 are trust, 198.51.100.0/24 and wan0 untrust, 203.0.113.0/24 and dmz0 dmz.
const (
	trust   = 1
	untrust = 2
	dmz     = 3
)

// Numbers of the kernel for the interfaces.
const lan0, wan0, dmz0 = 11, 12, 13

// script is a stream of batches, each read once; then end.
type script struct {
	t       testing.TB
	fd      int
	batches [][]source.Event
	end     error
	again   time.Duration // after the batches
	reads   int
	onRead  func(n int) // called before the n-th read
}

func newScript(t testing.TB, batches ...[]source.Event) *script {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &script{t: t, fd: fd, batches: batches, end: io.EOF}
}

func (s *script) FD() int { return s.fd }

func (s *script) Read(b *source.EventBatch, _, _ int64) (time.Duration, error) {
	b.N = 0
	s.reads++
	if s.onRead != nil {
		s.onRead(s.reads)
	}
	if len(s.batches) == 0 {
		return s.again, s.end
	}
	for _, e := range s.batches[0] {
		*b.Add() = e
	}
	s.batches = s.batches[1:]
	return 0, nil
}

// keeper is a script that keeps sessions.
type keeper struct {
	*script
	sync.Mutex
	live []source.Event
}

func (k *keeper) Sessions(yield func(*source.Event) bool) {
	k.Lock()
	live := slices.Clone(k.live)
	for i := range live {
		kept := *live[i].Kept
		live[i].Kept = &kept
	}
	k.Unlock()
	for i := range live {
		if !yield(&live[i]) {
			return
		}
	}
}

// book gives ids to names in the order in which they come.
type book struct {
	policies, filters []string
	published         int
	full              bool // it learns nothing
}

func (b *book) Policy(name string) uint32 { return b.idOf(&b.policies, name) }
func (b *book) Filter(name string) uint32 { return b.idOf(&b.filters, name) }
func (b *book) Publish() uint32           { b.published++; return uint32(9 + b.published) }

func (b *book) idOf(names *[]string, name string) uint32 {
	i := slices.Index(*names, name)
	if i < 0 && b.full {
		return 0
	}
	if i < 0 {
		i = len(*names)
		*names = append(*names, name)
	}
	return uint32(i + 1)
}

// rig is a feed with real tables and one real ring.
type rig struct {
	*Feed
	t     testing.TB
	names *book
	ring  *replay.Ring
	gate  *admission.Gate
}

// roomy are the limits of a ring that holds what any test makes.
var roomy = replay.Limits{Slots: 1 << 15, Telemetry: 1 << 14, PerKind: 1 << 14}

var noLimit = admission.Rate{PerSecond: 1e9, Burst: 1e9}

func newRig(t testing.TB, limits replay.Limits, unanswered admission.Rate, streams ...source.EventStream) *rig {
	t.Helper()
	ring, err := replay.New(limits)
	if err != nil {
		t.Fatal(err)
	}
	g := admission.Config{Lanes: 1, Zones: []uint16{trust, untrust, dmz}, Generation: 9, Options: admission.Options{Unanswered: unanswered}}
	for _, k := range event.Kinds() {
		g.Rates[k] = noLimit
	}
	g.Sinks = []admission.Sink{{Name: "sink", Ring: ring, Only: event.AllKinds}}
	gate, err := admission.New(g)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, names: new(book), ring: ring, gate: gate}
	c := Config{Gate: gate, Apps: application.Predefined(), Names: r.names, Zones: zone.New([]zone.Zone{
		{ID: trust, Name: "trust", Interfaces: []string{"lan0"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{ID: untrust, Name: "untrust", Interfaces: []string{"wan0"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
		{ID: dmz, Name: "dmz", Interfaces: []string{"dmz0"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}},
	}, nil, map[string]uint32{"lan0": lan0, "wan0": wan0, "dmz0": dmz0})}
	for _, s := range streams {
		c.Streams = append(c.Streams, Stream{Name: "test", EventStream: s})
	}
	if r.Feed, err = New(c); err != nil {
		t.Fatal(err)
	}
	return r
}

// begin prepares passes of the test's own.
func (r *rig) begin() {
	r.t.Helper()
	if err := r.Feed.begin(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := r.waiter.close(); err != nil {
			r.t.Error(err)
		}
	})
}

// run runs the feed until its streams have ended, and returns the records that are in the ring.
func (r *rig) run() []event.Record {
	r.t.Helper()
	if err := r.Run(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return r.records()
}

// records returns what is in the ring, and acknowledges it.
func (r *rig) records() (all []event.Record) {
	r.t.Helper()
	for {
		got := r.ring.Next(64)
		if len(got) == 0 {
			return all
		}
		all = append(all, slices.Clone(got)...)
		if err := r.ring.Ack(got[len(got)-1].Seq()); err != nil {
			r.t.Fatal(err)
		}
	}
}

func tuple(proto uint8, src, dst string) packet.Tuple {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	t := packet.Tuple{SrcPort: s.Port(), DstPort: d.Port(), Proto: proto}
	t.Src, t.Family = packet.AddrFrom(s.Addr())
	t.Dst, _ = packet.AddrFrom(d.Addr())
	return t
}

// Times of every session: it begins at begin and ends 2.5 s later.
const (
	begin = int64(1_700_000_000_600_000_000)
	end   = begin + 2_500_000_000
)

// a session that is masqueraded on its way from trust to untrust.
func masqueraded(kept *source.Kept) source.Event {
	return source.Event{
		What: source.Began, Time: begin, Created: begin, Session: 77, Kept: kept,
		Flow:  tuple(packet.ProtoTCP, "192.0.2.10:40000", "198.51.100.1:443"),
		Reply: tuple(packet.ProtoTCP, "198.51.100.1:443", "198.51.100.99:61000"),
	}
}

func as(e source.Event, what source.What) source.Event {
	e.What = what
	if what == source.Ended {
		e.Time, e.Answered, e.Reason = end, true, event.CloseFIN
		e.ClientPackets, e.ClientBytes, e.ServerPackets, e.ServerBytes = 6, 600, 5, 5000
	}
	return e
}
