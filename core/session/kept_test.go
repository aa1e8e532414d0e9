package session

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// sameIds are those of a run with the same names.
type sameIds struct{}

func (sameIds) Zone(id uint16) (uint16, bool) { return id, true }
func (sameIds) Policy(id uint32) uint32       { return id }
func (sameIds) Interface(id uint32) uint32    { return id }
func (sameIds) Application(id uint16) uint16  { return id }

// otherIds add a hundred to every id; zone 2 is gone.
type otherIds struct{}

func (otherIds) Zone(id uint16) (uint16, bool) {
	if id == 2 {
		return 0, false
	}
	return id + 100, true
}
func (otherIds) Policy(id uint32) uint32      { return id + 100 }
func (otherIds) Interface(id uint32) uint32   { return id + 100 }
func (otherIds) Application(id uint16) uint16 { return id + 100 }

// takeOver gives another table the sessions of t.
func takeOver(t *testing.T, from, to *Table, how Takeover) (ended []Session) {
	t.Helper()
	n := 0
	for b := range from.Kept {
		k, err := CheckKept(b)
		if err != nil {
			t.Fatal(err)
		}
		n += k
		if ended, err = to.TakeOver(b, &how, ended); err != nil {
			t.Fatal(err)
		}
	}
	if st := to.Stats(); from.Stats().Active != n || st.TakenOver != uint64(n) || st.TakenOver+st.Created != st.Closed+uint64(st.Active) {
		t.Fatalf("%d sessions were kept of %+v, the other table has %+v", n, from.Stats(), st)
	}
	return ended
}

// anyPacket is one of a few flows, in a few domains.
func anyPacket(rng *rand.Rand) (h *packet.Headers, domain uint32) {
	protos := []uint8{tcp, tcp, tcp, packet.ProtoUDP, packet.ProtoICMP, protoOSPF}
	flags := []uint8{syn, syn | ack, ack, ack, ack, fin | ack, rst, rst | ack}
	h = headers(protos[rng.IntN(len(protos))], fmt.Sprintf("192.0.2.%d", rng.IntN(4)), fmt.Sprintf("198.51.100.%d", rng.IntN(4)), uint16(rng.IntN(3)), uint16(rng.IntN(2)))
	if rng.IntN(2) == 0 {
		h.Tuple = h.Tuple.Reverse()
	}
	if h.Proto == tcp {
		h.TCPFlags, h.TCPSeq, h.TCPAck = flags[rng.IntN(len(flags))], rng.Uint32N(5000), rng.Uint32N(5000)
	}
	return h, 1 + uint32(rng.IntN(2))
}

// TestTakeOver gives a table random packets, and another one its sessions: that one then has the same, by whatever secret flows are hashed,
// and each ends in its time.
func TestTakeOver(t *testing.T) {
	const stride = 10 * oneSlot
	seeds := uint64(10)
	if race.Enabled {
		seeds = 2 // one goroutine: there is nothing to find for the detector
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 7))
		a := &rig{t: t, unkeyed: unkeyed{New(Config{Max: 1 << 12, Seed: 1, Timeouts: DefaultTimeouts(), Translations: seed%2 == 0})}}
		at := time.Duration(0)
		step := func() {
			if rng.IntN(50) == 0 {
				at += time.Duration(rng.Int64N(int64(40 * time.Second)))
			}
			at += time.Duration(rng.Int64N(int64(time.Second)))
		}
		params := func() Params {
			return Params{
				Policy: rng.Uint32N(9), Interface: rng.Uint32N(9), InZone: uint16(rng.IntN(9)), OutZone: uint16(rng.IntN(9)), App: uint16(rng.IntN(9)),
				LogClose: rng.IntN(2) == 0, Timeout: []uint32{0, 5, Never}[rng.IntN(3)],
			}
		}
		for range 300 {
			step()
			h, domain := anyPacket(rng)
			a.packetIn(domain, at, h, params())
			if rng.IntN(5) == 0 && seed%2 == 0 {
				a.Translate(a.key(&h.Tuple, domain), a.nextID, &packet.Translation{Src: packet.Addr{1, 2}, SrcPort: 7, Dst: packet.Addr{3}, DstPort: 9})
			}
			if rng.IntN(5) == 0 {
				a.OweOpen(h, domain)
			}
			a.expire(at)
		}
		b := &rig{t: t, nextID: a.nextID, unkeyed: unkeyed{New(Config{Max: 1 << 12, Seed: seed, Timeouts: DefaultTimeouts(), Translations: seed%2 == 0})}}
		if ended := takeOver(t, a.Table, b.Table, Takeover{IDs: sameIds{}, Now: base + int64(at)}); len(ended) != 0 {
			t.Fatalf("seed %d: there was no room for %d sessions", seed, len(ended))
		}
		if was, is := each(t, a.Table), each(t, b.Table); !slices.Equal(was, is) {
			t.Fatalf("seed %d: %d sessions, and %d others", seed, len(was), len(is))
		}
		n := b.Stats().Active
		for last := at; b.Stats().Active > 0 && at < last+40*time.Minute; at += stride {
			for _, s := range b.expire(at) {
				n--
				if late := base + int64(at) - s.Closed; late < 0 || late > int64(stride+oneSlot) {
					t.Fatalf("seed %d: %+v ends %v after its time", seed, s, time.Duration(late))
				}
			}
		}
		if never := len(b.End(0, base+int64(at), nil)); never != n || b.Stats().Closed != b.Stats().TakenOver {
			t.Fatalf("seed %d: %d sessions without a timeout, %d have not ended", seed, never, n)
		}
	}
}

// each returns what is kept of each session, in order.
func each(t *testing.T, table *Table) (list []string) {
	t.Helper()
	for b := range table.Kept {
		for len(b) > 0 {
			var k kept
			rest, err := k.decode(b)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, string(b[:len(b)-len(rest)]))
			b = rest
		}
	}
	slices.Sort(list)
	return list
}

// TestTakeOverOtherNames gives sessions other ids. One whose zone is gone ends at once, by policy; where zones tell sessions apart, domains
// change with them.
func TestTakeOverOtherNames(t *testing.T) {
	a := newRig(t, 1<<12)
	for i := range uint16(3) {
		h := headers(packet.ProtoUDP, clientAddr, serverAddr, i, 53)
		a.packetIn(ByZone.Domain(h, i), time.Second, h, Params{InZone: i, OutZone: 3, Policy: 4, App: 5, Interface: 6, LogClose: true})
	}
	b := &rig{t: t, unkeyed: unkeyed{New(Config{Max: 1 << 12, Seed: 2, Timeouts: DefaultTimeouts()})}}
	takeOver(t, a.Table, b.Table, Takeover{IDs: otherIds{}, Now: base + int64(3*time.Second), Shift: int64(2 * time.Second), ByZone: true})
	for i := range uint16(3) {
		var s Session
		h := headers(packet.ProtoUDP, clientAddr, serverAddr, i, 53)
		found := b.Get(h, ByZone.Domain(h, i+100), base, &s)
		if i == 2 {
			continue
		}
		if !found || (s.InZone != i+100 || s.OutZone != 103 || s.Policy != 104 || s.App != 105 || s.Interface != 106 || s.Reason != event.CloseNone) {
			t.Errorf("session %d: found %v, %+v", i, found, s)
		}
	}
	if gone := b.expire(3*time.Second + 2*oneSlot); len(gone) != 1 || gone[0].Reason != event.ClosePolicy || gone[0].InZone != 0 {
		t.Errorf("closed: %+v", gone)
	}
	// The timers of the others have stood still for two seconds.
	if early := b.expire(time.Minute + 3*time.Second - 1); len(early) != 0 {
		t.Errorf("closed too early: %+v", early)
	}
	if late := b.expire(time.Minute + 3*time.Second + oneSlot); len(late) != 2 || late[0].Reason != event.CloseTimeout {
		t.Errorf("closed: %+v", late)
	}
}

// TestTakeOverApart changes what tells sessions apart: their next packets belong to them in whatever domain.
func TestTakeOverApart(t *testing.T) {
	a := newRig(t, 1<<12)
	h := headers(packet.ProtoUDP, clientAddr, serverAddr, 1, 53)
	a.packetIn(77, 0, h, Params{})
	b := &rig{t: t, unkeyed: unkeyed{New(Config{Max: 1 << 12, Seed: 2, Timeouts: DefaultTimeouts()})}}
	takeOver(t, a.Table, b.Table, Takeover{IDs: sameIds{}, Now: base, Apart: true})
	if !b.Lookup(h, 1, base+1, &b.hit) {
		t.Error("its packet belongs to no session")
	}
}

// TestTakeOverSmaller has room for some: the others have ended, each once.
func TestTakeOverSmaller(t *testing.T) {
	a := newRig(t, 1<<12)
	const n = 2000
	for i := range n {
		a.packet(0, flow(i), Params{LogClose: true})
	}
	b := &rig{t: t, unkeyed: unkeyed{New(Config{Max: 1 << 10, Seed: 2, Timeouts: DefaultTimeouts()})}}
	ended := takeOver(t, a.Table, b.Table, Takeover{IDs: sameIds{}, Now: base})
	ids := make(map[uint64]bool)
	for i := range ended {
		ids[ended[i].ID] = true
		if s := &ended[i]; s.Reason != event.CloseAgeOut || !s.LogClose || s.ClientPackets != 1 || s.Created != base {
			t.Fatalf("%+v", s)
		}
	}
	for s := range b.All(base) {
		ids[s.ID] = true
	}
	if len(ids) != n || len(ended) != n-b.Stats().Active || len(ended) < n-1<<10 {
		t.Errorf("%d sessions, %d ended, %d live", len(ids), len(ended), b.Stats().Active)
	}
}

// TestTakeOverDropped remembers the flows whose first packet was dropped.
func TestTakeOverDropped(t *testing.T) {
	a, b := newRig(t, 1<<10), newRig(t, 1<<10)
	h := flow(1)
	a.FlowDropped(a.key(&h.Tuple, 1), base)
	if err := b.TakeOverDropped(a.KeptDropped(nil)); err != nil {
		t.Fatal(err)
	}
	if !b.IsDropped(b.key(&h.Tuple, 1), base+1) {
		t.Error("it is forgotten")
	}
	if err := b.TakeOverDropped(make([]byte, 8)); err == nil {
		t.Error("a table of another size is taken over")
	}
}

// FuzzTakeOver reads sessions from anywhere: it never panics, and the sums hold.
func FuzzTakeOver(f *testing.F) {
	table := New(Config{Max: 1 << 10, Seed: 1, Timeouts: DefaultTimeouts(), Translations: true})
	r := &rig{unkeyed: unkeyed{table}}
	for i := range 3 {
		r.packet(0, flow(i), Params{})
	}
	h := flow(1)
	table.Translate(r.key(&h.Tuple, 1), 2, &packet.Translation{SrcPort: 1, Src: packet.Addr{1}})
	for b := range table.Kept {
		f.Add(bytes.Clone(b))
		f.Add(bytes.Clone(b[:keptSize]))
		f.Add(bytes.Clone(b[:keptSize-1]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, checkErr := CheckKept(b)
		table := New(Config{Max: 1 << 10, Seed: 2, Timeouts: DefaultTimeouts(), Translations: true})
		ended, err := table.TakeOver(b, &Takeover{IDs: otherIds{}, Now: base}, nil)
		if (err == nil) != (checkErr == nil) {
			t.Fatalf("checked: %v, taken over: %v", checkErr, err)
		}
		st := table.Stats()
		if err == nil && (st.TakenOver != uint64(n) || st.Active+len(ended) != n) {
			t.Fatalf("%d sessions, %+v", n, st)
		}
		var out [64]Session
		for more := true; more; {
			_, more = table.Expire(0, base+int64(time.Hour), out[:])
		}
		table.End(0, base+int64(time.Hour), nil)
		if st := table.Stats(); st.Active != 0 || st.Closed != st.TakenOver {
			t.Fatalf("in the end %+v", st)
		}
	})
}

// BenchmarkKept writes and reads what a table of the default size keeps.
func BenchmarkKept(b *testing.B) {
	const n = 1 << 18
	from, _ := benchTable(b, n)
	var pieces [][]byte
	b.Run("write", func(b *testing.B) {
		for range b.N {
			pieces = pieces[:0]
			for piece := range from.Kept {
				pieces = append(pieces, bytes.Clone(piece))
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/session")
	})
	b.Run("read", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			to := New(Config{Max: 2 * n, Seed: 2, Timeouts: DefaultTimeouts()})
			b.StartTimer()
			for _, piece := range pieces {
				if _, err := CheckKept(piece); err != nil {
					b.Fatal(err)
				}
				if _, err := to.TakeOver(piece, &Takeover{IDs: sameIds{}, Now: base}, nil); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/session")
	})
}
