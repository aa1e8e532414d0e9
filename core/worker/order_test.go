package worker

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// queued is one queue of several: it hands out the batch that it was given.
type queued struct {
	frames []packet.Frame
	now    int64
	coarse bool
}

func (q *queued) Receive(_ context.Context, b *packet.Batch, _ time.Duration) error {
	b.N = copy(b.Frames[:], q.frames)
	b.Now, b.Wall, b.Coarse = q.now, q.now+wallOffset, q.coarse
	if q.coarse {
		for i := range b.Frames[:b.N] {
			b.Frames[i].Time = q.now
		}
	}
	q.frames = nil
	return nil
}

func (q *queued) Release() {}

// team is several workers that share a session table and a gate.
type team struct {
	*rig
	workers []*Worker
	queues  []*queued
}

// newTeam returns a team whose policy permits what goes from trust to untrust.
func newTeam(t *testing.T, n int, coarse bool) *team {
	r := newRig(t, policy(func(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
		if p.InZone == trust {
			permit.Policy = 7
			return hook.Pass
		}
		*f = hook.Finding{Found: true, Kind: event.PolicyDeny, Policy: 8}
		return hook.Drop
	}))
	g := admission.Config{Lanes: n, Zones: []uint16{trust, untrust, dmz}, Generation: 9}
	for _, k := range event.Kinds() {
		g.Rates[k] = admission.Rate{PerSecond: 1e9, Burst: 1e9}
	}
	g.Sinks = []admission.Sink{{Name: "sink", Ring: r.ring, Only: event.AllKinds}}
	gate, err := admission.New(g)
	if err != nil {
		t.Fatal(err)
	}
	table := session.New(session.Config{Max: 1 << 14, Seed: 1, Workers: n, Timeouts: session.DefaultTimeouts()})
	m := &team{rig: r}
	for i := range n {
		q := &queued{coarse: coarse}
		c := r.Config
		c.Index, c.Lane, c.Source, c.Gate, c.Sessions, c.Alone = i, i, q, gate, table, n == 1
		w := New(c)
		w.lane = gate.Lane(t.Context(), i)
		m.workers, m.queues = append(m.workers, w), append(m.queues, q)
	}
	return m
}

// carry lets worker i carry frames at a time after start.
func (m *team) carry(i int, at time.Duration, frames ...packet.Frame) {
	m.queues[i].frames, m.queues[i].now = frames, start+int64(at)
	if err := m.workers[i].step(context.Background()); err != nil {
		m.t.Error(err)
	}
}

// frame returns a frame that arrives at start on an interface.
func (m *team) frame(data []byte, on string) packet.Frame {
	return packet.Frame{Data: data, Wire: len(data), Time: start, Interface: m.zones.Index(on)}
}

// end lets the sessions end and returns what was told of each, and how many denials there were of which flow.
func (m *team) end(from time.Duration) (closes, denials []string) {
	for at := from; at < from+3*time.Hour; at += time.Minute {
		for i := range m.workers {
			m.carry(i, at)
		}
	}
	for _, rec := range m.drain() {
		flow := fmt.Sprintf("%s:%d>%s:%d/%d zones %d>%d", rec.Src(), rec.SrcPort(), rec.Dst(), rec.DstPort(), rec.Proto(), rec.InZone(), rec.OutZone())
		switch rec.Kind() {
		case event.SessionClose:
			closes = append(closes, fmt.Sprintf("%s policy %d %d/%d %d/%d why %d", flow, rec.Policy(),
				rec.ClientPackets(), rec.ClientBytes(), rec.ServerPackets(), rec.ServerBytes(), rec.CloseReason()))
		case event.PolicyDeny:
			denials = append(denials, flow)
		}
	}
	slices.Sort(closes)
	slices.Sort(denials)
	return closes, denials
}

// arrival is a frame and when it arrives.
type arrival struct {
	at   time.Duration
	data []byte
	on   string
}

// traffic returns flows of every sort, question and answer a gap apart, and some that are to be denied.
func traffic(t *testing.T, gap time.Duration) (all []arrival) {
	segment := func(back bool, port uint16, flags uint8, seq, ackNumber uint32, data int) arrival {
		src, dst, from, to, on := client, server, port, uint16(443), "lan0"
		if back {
			src, dst, from, to, on = server, client, 443, port, "wan0"
		}
		return arrival{0, frame(t, ip4(src, dst, layers.IPProtocolTCP), &layers.TCP{
			SrcPort: layers.TCPPort(from), DstPort: layers.TCPPort(to), DataOffset: 5, Seq: seq, Ack: ackNumber,
			FIN: flags&fin != 0, SYN: flags&syn != 0, RST: flags&rst != 0, ACK: flags&ack != 0,
		}, gopacket.Payload(make([]byte, data))), on}
	}
	add := func(at time.Duration, list ...arrival) {
		for i, a := range list {
			a.at = at + time.Duration(i)*gap
			all = append(all, a)
		}
	}
	udp := func(src string, from uint16, dst string, to uint16, on string) arrival {
		return arrival{0, udpFrame(t, src, from, dst, to, 20), on}
	}
	for i := range uint16(20) {
		at := time.Duration(i) * 37 * time.Millisecond
		c, s := uint32(i)<<24, ^uint32(i)<<20
		port := 20000 + i
		add(at, segment(false, port, syn, c, 0, 0), segment(true, port, syn|ack, s, c+1, 0), segment(false, port, ack, c+1, s+1, 0),
			segment(false, port, ack, c+1, s+1, 100), segment(true, port, ack, s+1, c+101, 500), segment(false, port, fin|ack, c+101, s+501, 0),
			segment(true, port, fin|ack, s+501, c+102, 0), segment(false, port, ack, c+102, s+502, 0))
		add(at, segment(false, 21000+i, syn, c, 0, 0), segment(true, 21000+i, rst|ack, 0, c+1, 0))
		add(at, udp(client, 30000+i, server, 53, "lan0"), udp(server, 53, client, 30000+i, "wan0"))
		add(at, arrival{0, echoFrame(t, client, server, 8, 7, i), "lan0"}, arrival{0, echoFrame(t, server, client, 0, 7, i), "wan0"})
		// A scanner whose source port is that of a service, and one that opens connections.
		add(at, udp(server, 53, client, 40000+i, "wan0"))
		add(at, arrival{0, tcpFrame(t, server, 60000, client, 1000+i, syn), "wan0"})
	}
	slices.SortStableFunc(all, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	return all
}

// split carries the traffic with workers among which the frames are split at random. Each worker is late by up to lag.
func split(t *testing.T, all []arrival, n int, lag time.Duration, coarse bool, seed uint64) (closes, denials []string) {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	m := newTeam(t, n, coarse)
	type batch struct {
		worker int
		read   time.Duration
		frames []packet.Frame
	}
	var batches []batch
	last := make([]time.Duration, n)
	for _, a := range all {
		w := rng.IntN(n)
		f := packet.Frame{Data: a.data, Wire: len(a.data), Time: start + int64(a.at), Interface: m.zones.Index(a.on)}
		if n > 1 {
			last[w] = max(last[w], a.at+time.Duration(rng.Int64N(int64(lag))))
		} else {
			last[w] = a.at
		}
		batches = append(batches, batch{w, last[w], []packet.Frame{f}})
	}
	slices.SortStableFunc(batches, func(a, b batch) int { return cmp.Compare(a.read, b.read) })
	for _, b := range batches {
		m.carry(b.worker, b.read, b.frames...)
	}
	return m.end(all[len(all)-1].at + time.Second)
}

// TestP12AnyNumberOfQueues compares, session by session, what one worker tells with what two and eight tell that get the
// same packets split at random and are late by up to 20 ms: roles, zones, policies, counts, ends and denials are the same.
func TestP12AnyNumberOfQueues(t *testing.T) {
	seeds := uint64(10)
	if race.Enabled {
		seeds = 1 // one goroutine: there is nothing to find for the detector
	}
	for _, gap := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond} {
		for _, coarse := range []bool{false, true} {
			all := traffic(t, gap)
			closes, denials := split(t, all, 1, 0, coarse, 0)
			if len(closes) != 80 || len(denials) != 40 {
				t.Fatalf("one worker: %d sessions and %d denials, want 80 and 40:\n%v", len(closes), len(denials), closes)
			}
			for _, n := range []int{2, 8} {
				for seed := range seeds {
					gotCloses, gotDenials := split(t, all, n, 20*time.Millisecond, coarse, seed)
					if diff := gocmp.Diff(closes, gotCloses); diff != "" {
						t.Fatalf("%v, %d workers, coarse %v, seed %d: sessions\n%s", gap, n, coarse, seed, diff)
					}
					if diff := gocmp.Diff(denials, gotDenials); diff != "" {
						t.Fatalf("%v, %d workers, coarse %v, seed %d: denials\n%s", gap, n, coarse, seed, diff)
					}
				}
			}
		}
	}
}

// TestP12Concurrent does the same with a goroutine for each worker.
func TestP12Concurrent(t *testing.T) {
	all := traffic(t, 100*time.Microsecond)
	want, wantDenied := split(t, all, 1, 0, false, 0)
	const n = 4
	m := newTeam(t, n, false)
	// What arrives within a few milliseconds is carried at the same time; whoever is first is first.
	for from := 0; from < len(all); {
		until := from
		shares := make([][]packet.Frame, n)
		for ; until < len(all) && all[until].at < all[from].at+5*time.Millisecond; until++ {
			a := all[until]
			w := int(binary.BigEndian.Uint16(a.data[24:])) % n // of the header checksum
			shares[w] = append(shares[w], packet.Frame{Data: a.data, Wire: len(a.data), Time: start + int64(a.at), Interface: m.zones.Index(a.on)})
		}
		var wg sync.WaitGroup
		for w := range n {
			wg.Go(func() {
				for chunk := range slices.Chunk(shares[w], packet.BatchSize) {
					m.carry(w, all[until-1].at, chunk...)
				}
			})
		}
		wg.Wait()
		from = until
	}
	closes, denials := m.end(all[len(all)-1].at + time.Second)
	if diff := gocmp.Diff(want, closes); diff != "" {
		t.Errorf("sessions\n%s", diff)
	}
	if diff := gocmp.Diff(wantDenied, denials); diff != "" {
		t.Errorf("denials\n%s", diff)
	}
}
