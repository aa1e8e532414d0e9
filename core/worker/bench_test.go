package worker

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// expireAll ends all sessions of the rig's table.
func expireAll(r *rig) []session.Session {
	out := make([]session.Session, 1<<14)
	n := 0
	r.Sessions.Share([]int{0})
	for more := true; more; {
		var got int
		got, more = r.Sessions.Expire(0, start+int64(100*time.Hour), out[n:])
		n += got
	}
	return out[:n]
}

// fill fills the worker's batch with the frames, at one time.
func (r *rig) fill(now int64, frames [][]byte) {
	r.Worker.batch.N = len(frames)
	r.Worker.batch.Now, r.Worker.batch.Wall = now, now+wallOffset
	for i, f := range frames {
		r.Worker.batch.Frames[i] = packet.Frame{Data: f, Wire: len(f), Time: now, Interface: r.zones.Index("lan0")}
	}
}

// acknowledge takes everything out of the ring.
func (r *rig) acknowledge() {
	for {
		run := r.ring.Next(1 << 12)
		if run == nil {
			return
		}
		if err := r.ring.Ack(run[len(run)-1].Seq()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestP7NoAllocation checks that a batch of all sorts of packets allocates nothing, with sessions that begin and end and
// findings of every kind.
func TestP7NoAllocation(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	r := newRig(t, ingress(moody), egress(moody), policy(func(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
		permit.Timeout = 3
		return moody(p, f)
	}))
	r.lane = r.Gate.Lane(context.Background(), 0)
	frames := seeds(t)
	for i := range 40 {
		frames = append(frames, many(t, 0, i<<20, 1)[0].data)
	}
	now, i := start, uint32(0)
	step := func() {
		now += 700e6
		i++
		for n, f := range frames[len(frames)-40:] {
			binary.BigEndian.PutUint32(f[26:], uint32(n)<<20|i)
		}
		r.fill(now, frames)
		r.process()
		r.acknowledge()
	}
	if got := testing.AllocsPerRun(1000, step); got != 0 {
		t.Errorf("%v allocations per batch, want none", got)
	}
	led := r.gate.Ledger()
	for _, k := range event.Kinds() {
		if k != event.Loss && led.Offered[k] < 200 {
			t.Errorf("only %d events of kind %v: the test does not cover it", led.Offered[k], k)
		}
	}
}

// BenchmarkPacketPath measures a packet of a session that is there: decode, zone, session lookup, and an ingress and an
// egress hook that do nothing. One iteration is one packet.
func BenchmarkPacketPath(b *testing.B) {
	pass := func(*hook.Packet, *hook.Finding) hook.Verdict { return hook.Pass }
	r := newRig(b, ingress(pass), egress(pass))
	r.lane = r.Gate.Lane(context.Background(), 0)
	var frames [][]byte
	for i := range packet.BatchSize {
		frames = append(frames, udpFrame(b, client, uint16(i+1), server, 53, 100))
	}
	r.fill(start, frames)
	r.process()
	r.acknowledge()
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += packet.BatchSize {
		r.process()
	}
	if got := r.Sessions.Stats().Created; got != packet.BatchSize {
		b.Fatalf("%d sessions", got)
	}
}

// BenchmarkPacketPathEvents measures a packet that a filter logs and one that a policy denies, in turn.
func BenchmarkPacketPathEvents(b *testing.B) {
	log := func(p *hook.Packet, f *hook.Finding) hook.Verdict {
		if p.SrcPort%2 == 0 {
			*f = hook.Finding{Found: true, Kind: event.FilterLog, Filter: 1, Term: 2}
			return hook.Drop
		}
		return hook.Pass
	}
	deny := func(_ *hook.Packet, _ *hook.Permit, f *hook.Finding) hook.Verdict {
		*f = hook.Finding{Found: true, Kind: event.PolicyDeny, Policy: 3}
		return hook.Drop
	}
	r := newRig(b, ingress(log), policy(deny))
	r.lane = r.Gate.Lane(context.Background(), 0)
	var frames [][]byte
	for i := range packet.BatchSize {
		frames = append(frames, tcpFrame(b, client, uint16(i+1), server, 53, packet.SYN))
	}
	r.fill(start, frames)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += packet.BatchSize {
		r.process()
		r.acknowledge()
	}
}
