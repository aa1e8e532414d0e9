package worker

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// moody is a hook whose verdict and finding depend on the bytes of the packet.
func moody(p *hook.Packet, f *hook.Finding) hook.Verdict {
	n := uint8(p.SrcPort) ^ p.Src[0] ^ p.Dst[3] ^ p.Proto
	if n&3 == 0 {
		kinds := [...]event.Kind{event.ScreenDrop, event.FilterLog, event.PolicyDeny}
		*f = hook.Finding{Found: true, Kind: kinds[n%3], Screen: event.Screen(n % event.NumScreens)}
	}
	return hook.Verdict(n >> 6 % 3)
}

// seeds returns frames of every sort the tests know.
func seeds(t testing.TB) [][]byte {
	request := udpFrame(t, client, 40000, server, 53, 32)
	first, second := fragmentFrames(t, client, 40000, server, 53, 77)
	return [][]byte{
		request, udpFrame(t, server, 53, client, 40000, 64), first, second,
		tcpFrame(t, client, 1, server, 80, syn), tcpFrame(t, server, 80, client, 1, syn|ack), tcpFrame(t, client, 1, server, 80, ack),
		tcpFrame(t, client, 1, server, 80, fin|ack), tcpFrame(t, server, 80, client, 1, rst),
		echoFrame(t, client, server, 8, 1, 1), echoFrame(t, server, client, 0, 1, 1),
		errorFrame(t, client, 3, 3, request), errorFrame(t, client, 3, 4, request), request[:20],
	}
}

// carry runs frames past a worker whose hooks are moody, and checks the sums.
func carry(t testing.TB, rng *rand.Rand, frames [][]byte) {
	r := newRig(t, ingress(moody), egress(moody), policy(func(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
		permit.Timeout = uint32(p.DstPort) % 10
		return moody(p, f)
	}))
	r.Complete = rng.IntN(2) == 0
	at := time.Duration(0)
	for len(frames) > 0 {
		n := min(len(frames), 1+rng.IntN(packet.BatchSize))
		var batch []timed
		for _, f := range frames[:n] {
			batch = append(batch, timed{at, f, []string{"lan0", "wan0", ""}[rng.IntN(3)]})
			at += time.Duration(rng.Int64N(int64(3 * time.Second)))
		}
		r.batch(batch...)
		frames = frames[n:]
	}
	records := r.run()
	for i := range records {
		if at := records[i].Time() - wallOffset - start; at < 0 {
			t.Fatalf("record %d from before the first packet: %s", i, line(&records[i]))
		}
	}
	if st := r.Sessions.Stats(); st.Created != uint64(st.Active)+st.Closed {
		t.Errorf("%+v: created is not active and closed", st)
	}
}

// FuzzFrames carries frames that the fuzzer makes, cut from one string of bytes, between good ones.
func FuzzFrames(f *testing.F) {
	good := seeds(f)
	for i, s := range good {
		f.Add(s, uint64(i), uint8(60))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, size uint8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var frames [][]byte
		for len(data) > 0 {
			n := min(len(data), int(size)+14)
			frames = append(frames, data[:n], good[rng.IntN(len(good))])
			data = data[n:]
		}
		carry(t, rng, frames)
	})
}

// TestP1Random carries good frames with a few bytes changed.
func TestP1Random(t *testing.T) {
	good := seeds(t)
	rounds := uint64(20)
	if race.Enabled {
		rounds = 3 // one goroutine: there is nothing to find for the detector
	}
	for seed := range rounds {
		rng := rand.New(rand.NewPCG(seed, 2))
		var frames [][]byte
		for range 500 {
			f := append([]byte(nil), good[rng.IntN(len(good))]...)
			for range rng.IntN(4) {
				f[rng.IntN(len(f))] = uint8(rng.Uint32())
			}
			frames = append(frames, f[:len(f)-rng.IntN(len(f))*rng.IntN(2)])
		}
		carry(t, rng, frames)
	}
}

// TestWorkersShareTheirTables runs two workers on the two directions of the same flows: there is one session per flow,
// and every packet is counted.
func TestWorkersShareTheirTables(t *testing.T) {
	const flows, rounds = 64, 50
	a := newRig(t, ofTwo(0))
	b := newRig(t, ofTwo(1))
	b.Sessions = a.Sessions
	b.nextID, b.lastID = b.Sessions.ReserveIDs()
	for range rounds {
		var there, back []timed
		for i := range flows {
			there = append(there, timed{0, udpFrame(t, client, uint16(i+1), server, 9, 0), ""})
			back = append(back, timed{0, udpFrame(t, server, 9, client, uint16(i+1), 0), "wan0"})
		}
		a.batch(there...)
		b.batch(back...)
	}
	var wg sync.WaitGroup
	for _, r := range []*rig{a, b} {
		wg.Go(func() {
			if err := r.Run(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if st := a.Sessions.Stats(); st.Created != flows {
		t.Errorf("%d sessions, want %d", st.Created, flows)
	}
	ids := make(map[uint64]bool)
	records := append(a.drain(), b.drain()...)
	for i := range records {
		if ids[records[i].SessionID()] {
			t.Fatalf("id %d twice", records[i].SessionID())
		}
		ids[records[i].SessionID()] = true
	}
	if len(records) != flows {
		t.Errorf("%d records, want %d", len(records), flows)
	}
	for _, c := range expireAll(a) {
		if c.ClientPackets != rounds || c.ServerPackets != rounds {
			t.Errorf("a session with %d and %d packets, want %d each way", c.ClientPackets, c.ServerPackets, rounds)
		}
	}
}
