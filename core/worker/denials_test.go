package worker

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// judges is a session hook that counts how often it is asked, and how many packets it has denied.
type judges struct {
	decide        sessionFunc
	asked, denied int
	rule          uint32 // of the last packet that it has denied
}

func (j *judges) Decide(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
	j.asked++
	return j.decide(p, permit, f)
}

func (j *judges) Denied(_ *hook.Packet, f *hook.Finding) {
	j.denied++
	j.rule = f.Rule
}

// rejects rejects everything by rule 5.
func rejects(remember bool) *judges {
	return &judges{decide: func(_ *hook.Packet, _ *hook.Permit, f *hook.Finding) hook.Verdict {
		*f = hook.Finding{Found: true, Kind: event.PolicyDeny, Action: event.ActionReject, Policy: 8, Rule: 5, Remember: remember}
		return hook.Reject
	}}
}

// passes lets everything pass.
func passes(remember, found bool) *judges {
	return &judges{decide: func(_ *hook.Packet, _ *hook.Permit, f *hook.Finding) hook.Verdict {
		*f = hook.Finding{Found: found, Kind: event.ScreenDrop, Remember: remember}
		return hook.Pass
	}}
}

func judged(hooks ...*judges) option {
	return func(c *Config, _ *session.Config) {
		for _, h := range hooks {
			c.Session = append(c.Session, h)
		}
	}
}

// TestDeniedAgain carries the first packet of one flow a hundred times. A hook is asked once if it says that this is enough,
// and no hook before it needs to see more; every packet has its event and is counted.
func TestDeniedAgain(t *testing.T) {
	const packets = 100
	for _, c := range []struct {
		name   string
		hooks  []*judges // the last rejects everything
		asked  []int
		alarms int
	}{
		{"remembered", []*judges{rejects(true)}, []int{1}, 0},
		{"not remembered", []*judges{rejects(false)}, []int{packets}, 0},
		{"behind one that need not see the others", []*judges{passes(true, false), rejects(true)}, []int{1, 1}, 0},
		{"behind one that has to see them", []*judges{passes(false, false), rejects(true)}, []int{packets, 1}, 0},
		{"behind one that reports", []*judges{passes(true, true), rejects(true)}, []int{packets, 1}, packets},
		{"behind more than can be told apart", []*judges{
			passes(true, false), passes(true, false), passes(true, false), passes(true, false), passes(true, false),
			passes(true, false), passes(true, false), passes(true, false), rejects(true),
		}, []int{packets, packets, packets, packets, packets, packets, packets, packets, packets}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, judged(c.hooks...))
			for i := range packets {
				r.batch(timed{time.Duration(i) * time.Millisecond, tcpFrame(t, client, 1000, server, 443, syn), ""})
			}
			records := r.run()
			denials := 0
			for i := range records {
				if rec := &records[i]; rec.Kind() == event.PolicyDeny {
					denials++
					if rec.SessionID() != uint64(denials) || rec.OutZone() != untrust || appName(rec) != "junos-https" || rec.Policy() != 8 || rec.Action() != event.ActionReject {
						t.Fatalf("denial %d: %s", denials, line(rec))
					}
				}
			}
			if denials != packets || len(records) != packets+c.alarms || r.Counts().Dropped[hook.Session] != packets {
				t.Errorf("%d denials, %d other records, %d dropped", denials, len(records)-denials, r.Counts().Dropped[hook.Session])
			}
			for i, h := range c.hooks {
				if h.asked != c.asked[i] {
					t.Errorf("hook %d was asked %d times, want %d", i, h.asked, c.asked[i])
				}
			}
			if last := c.hooks[len(c.hooks)-1]; last.denied != packets || last.rule != 5 {
				t.Errorf("%d packets were counted, the last by rule %d", last.denied, last.rule)
			}
		})
	}
}

// TestDeniedOthers carries a packet of a denied flow, and then one that is not of that flow and direction, or is later: the
// policies are asked about both.
func TestDeniedOthers(t *testing.T) {
	ping := echoFrame(t, client, server, 8, 1, 1)
	cut := tcpFrame(t, client, 1000, server, 443, syn)
	tiny, _ := tinyFragments(t, client, 1000, server, 443, syn)
	for _, c := range []struct {
		name          string
		first, second timed
		asked         int
	}{
		{"the same", timed{0, cut, "lan0"}, timed{time.Minute, cut, "lan0"}, 1},
		{"after a minute", timed{0, cut, "lan0"}, timed{time.Minute + 1, cut, "lan0"}, 2},
		{"from another zone", timed{0, cut, "lan0"}, timed{0, cut, "wan0"}, 2},
		{"from another port", timed{0, cut, "lan0"}, timed{0, tcpFrame(t, client, 1001, server, 443, syn), "lan0"}, 2},
		{"the other direction", timed{0, cut, "lan0"}, timed{0, tcpFrame(t, server, 443, client, 1000, syn), "lan0"}, 2},
		{"without its flags", timed{0, cut, "lan0"}, timed{0, tiny, "lan0"}, 1},
		{"another ICMP type", timed{0, ping, "lan0"}, timed{0, patch(ping, 34, 13), "lan0"}, 2},
		{"another ICMP code", timed{0, ping, "lan0"}, timed{0, patch(ping, 35, 1), "lan0"}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := rejects(true)
			r := newRig(t, judged(h))
			r.batch(c.first)
			r.batch(c.second)
			if got := len(r.run()); got != 2 || h.asked != c.asked {
				t.Errorf("%d denials, and the policies were asked %d times, want 2 and %d", got, h.asked, c.asked)
			}
		})
	}
}

// TestDeniedAnswerIsNotCounted carries an answer, which no policy permits, before its question, which one does: the answer
// is let pass, and the policies do not count a denial.
func TestDeniedAnswerIsNotCounted(t *testing.T) {
	h := &judges{decide: outbound}
	r := newRig(t, judged(h))
	r.batch(timed{0, udpFrame(t, server, 53, client, 40000, 32), "wan0"}, timed{-time.Millisecond, udpFrame(t, client, 40000, server, 53, 32), ""})
	r.timeout(time.Second)
	r.expect("0s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 7 app junos-dns-udp")
	if h.asked != 2 || h.denied != 0 {
		t.Errorf("asked %d times, %d denials", h.asked, h.denied)
	}
}

// TestDeniedByFormerRules denies flows, and then lets another worker with other rules and the same session table carry them,
// as after a change of the configuration: they are permitted.
func TestDeniedByFormerRules(t *testing.T) {
	old, changed := newRig(t, judged(rejects(true))), newRig(t, policy(permitAs(7)))
	changed.Sessions = old.Sessions
	for _, r := range []*rig{old, changed} {
		r.batch(timed{0, tcpFrame(t, client, 1000, server, 443, syn), ""}, timed{0, udpFrame(t, client, 1000, server, 53, 8), ""})
	}
	changed.batch(timed{time.Millisecond, tcpFrame(t, server, 443, client, 1000, syn|ack), "wan0"})
	if got := len(old.run()); got != 2 {
		t.Errorf("%d denials", got)
	}
	changed.expect(
		"0s session-open 192.0.2.10:1000>198.51.100.1:443/6 zones 1>2 if 11 id 1 policy 7 app junos-https",
		"0s session-open 192.0.2.10:1000>198.51.100.1:53/17 zones 1>2 if 11 id 2 policy 7 app junos-dns-udp")
	if got := changed.Counts(); got.Passed != 3 {
		t.Errorf("%+v", got)
	}
}

// TestP7DeniedFlood denies and drops the first packets of more flows than a worker remembers: nothing is allocated, and each
// has its event.
func TestP7DeniedFlood(t *testing.T) {
	if size := unsafe.Sizeof(denialSlot{}); size != 128 {
		t.Errorf("a slot takes %d bytes, want 128", size)
	}
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	h := rejects(true)
	fetch := &fetching{judges: h}
	r := newRig(t, func(c *Config, _ *session.Config) { c.Session = []hook.SessionHook{fetch} }, ingress(func(p *hook.Packet, f *hook.Finding) hook.Verdict {
		if p.SrcPort%2 == 0 {
			return dropScreen(p, f)
		}
		return hook.Pass
	}))
	fetch.rig = r
	r.lane = r.Gate.Lane(context.Background(), 0)
	var frames [][]byte
	for i := range packet.BatchSize {
		frames = append(frames, tcpFrame(t, client, uint16(i), server, 443, syn))
	}
	now, n := start, uint32(0)
	const batches = 1000
	if got := testing.AllocsPerRun(batches, func() {
		now += 1e6
		n++
		for _, f := range frames {
			binary.BigEndian.PutUint32(f[26:], 10<<24+n)
		}
		r.fill(now, frames)
		r.process()
		r.acknowledge()
	}); got != 0 {
		t.Errorf("%v allocations per batch, want none", got)
	}
	const want = (batches + 1) * packet.BatchSize / 2
	if led := r.gate.Ledger(); h.denied != want || led.Offered[event.PolicyDeny] != want || led.Offered[event.ScreenDrop] != want {
		t.Errorf("%d denied, %d and %d events, want %d", h.denied, led.Offered[event.PolicyDeny], led.Offered[event.ScreenDrop], want)
	}
	if want := batches * packet.BatchSize; fetch.packets != want {
		t.Errorf("memory was fetched for %d packets, want %d: for all but the first batch", fetch.packets, want)
	}
}

// byFlow decides by all that a verdict which may be remembered can depend on.
func byFlow(remember bool) *judges {
	return &judges{decide: func(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
		h := fnv.New32()
		h.Write(p.Src[:])
		h.Write(p.Dst[:])
		h.Write([]byte{byte(p.SrcPort), byte(p.DstPort), p.Proto, byte(p.InZone), byte(p.OutZone), byte(p.App), p.ICMPType, p.ICMPCode})
		sum := h.Sum32()
		if p.HasHead {
			sum++
		}
		if sum%4 == 0 {
			permit.Policy, permit.Timeout = sum, sum%30
			return hook.Pass
		}
		*f = hook.Finding{Found: sum%8 < 6, Kind: event.PolicyDeny, Policy: sum, Rule: sum, Remember: remember}
		return hook.Verdict(sum%4+1)%2 + 1
	}}
}

// fetching is a session hook that has memory fetched, and checks which packets it is told of.
type fetching struct {
	*judges
	rig     *rig
	packets int
}

func (f *fetching) Prefetch(packets []*hook.Packet) {
	w := f.rig.Worker
	seen := uint64(0)
	for _, p := range packets {
		if p != &w.packets[p.Place] || seen>>p.Place&1 != 0 || p.Place >= w.batch.N {
			f.rig.t.Errorf("not a packet of the batch, or one for the second time: place %d", p.Place)
		}
		seen |= 1 << p.Place
		if p.Family == 0 || p.FragOff != 0 || w.causes[p.Place] != packet.OK || p.OutZone != w.egress(p) || answers(p) || p.Worker != w.Index {
			f.rig.t.Errorf("not as the first packet of a flow is: %+v", p)
		}
	}
	if len(packets) == 0 {
		f.rig.t.Error("no packets")
	}
	f.packets += len(packets)
}

// TestPrefetchByOtherRules takes other rules: their hooks are shown packets from then on, and those of the former ones are not.
func TestPrefetchByOtherRules(t *testing.T) {
	former, next := &fetching{judges: rejects(true)}, &fetching{judges: rejects(true)}
	r := newRig(t, func(c *Config, _ *session.Config) { c.Session = []hook.SessionHook{former} })
	former.rig, next.rig = r, r
	r.lane = r.Gate.Lane(context.Background(), 0)
	n := uint16(0)
	carry := func() {
		var frames [][]byte
		for range packet.BatchSize {
			frames = append(frames, tcpFrame(t, client, n, server, 443, syn))
			n++
		}
		r.fill(start, frames)
		r.process()
		r.acknowledge()
	}
	carry()
	carry()
	r.take(&Rules{Session: []hook.SessionHook{next}})
	carry()
	carry()
	if want := packet.BatchSize; former.packets != want || next.packets != 2*want {
		t.Errorf("the former hook was shown %d packets, the next one %d, want %d and %d", former.packets, next.packets, want, 2*want)
	}
	last := &r.packets[packet.BatchSize-1]
	if zone, known := r.outZone(last); !known || zone != r.egress(last) {
		t.Errorf("zone %d of the last packet, known %v", zone, known)
	}
	other := *last // as the other direction of it, or one that has waited
	if zone, known := r.outZone(&other); known {
		t.Errorf("zone %d of a packet that is not of the batch is known", zone)
	}
}

// TestDenialsAgainstModel carries random packets of a few flows, in several zones and VLANs and out of order, with a worker
// that remembers, with one that does not, and with one that has memory fetched for first packets: records, counters and denials are
// the same.
func TestDenialsAgainstModel(t *testing.T) {
	remembered, fetched := 0, 0
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 3))
		good := append(seeds(t), tcpFrame(t, server, 80, client, 1, syn), echoFrame(t, server, client, 8, 1, 1))
		for port := range uint16(8) {
			good = append(good, tcpFrame(t, server, 9000+port, client, 22, syn), udpFrame(t, client, 9000+port, server, 9, 8))
		}
		var frames []timed
		at := time.Duration(0)
		for range 3000 {
			f := append([]byte(nil), good[rng.IntN(len(good))]...)
			if rng.IntN(4) == 0 && len(f) > 37 {
				f[34+rng.IntN(4)] ^= uint8(rng.IntN(3)) // ports, or type and code
			}
			if rng.IntN(20) == 0 {
				f[rng.IntN(len(f))] ^= uint8(1 << rng.IntN(8))
			}
			at += time.Duration(rng.Int64N(int64(40 * time.Millisecond)))
			on := "lan0"
			if len(f) > 26 && f[26] != good[0][26] || rng.IntN(16) == 0 { // not from the client
				on = "wan0"
			}
			frames = append(frames, timed{at, f, on})
		}
		type outcome struct {
			lines  []string
			counts Counts
			denied int
		}
		carry := func(h *judges, fetch *fetching) outcome {
			hooks := judged(passes(seed%2 == 0, seed%3 == 0), h)
			if fetch != nil {
				hooks = func(c *Config, _ *session.Config) {
					c.Session = append(c.Session, passes(seed%2 == 0, seed%3 == 0), fetch)
				}
			}
			r := newRig(t, ingress(func(p *hook.Packet, f *hook.Finding) hook.Verdict {
				if p.OutZone != 0 {
					t.Errorf("%+v: the zone that it goes to is known at the ingress site", p)
				}
				if p.IPLen%5 == 0 {
					return dropScreen(p, f)
				}
				return hook.Pass
			}), hooks, complete)
			if fetch != nil {
				fetch.rig = r
			}
			for rest := frames; len(rest) > 0; {
				n := min(len(rest), 1+int(rest[0].at)%packet.BatchSize)
				r.batch(rest[:n]...)
				for i, f := range rest[:n] {
					r.source.batches[len(r.source.batches)-1][i].Outgoing = f.at%8 == 0
				}
				rest = rest[n:]
			}
			return outcome{lines(r.run()), r.Counts(), h.denied}
		}
		with, without := byFlow(true), byFlow(false)
		want := carry(without, nil)
		if diff := cmp.Diff(want, carry(with, nil), cmp.AllowUnexported(outcome{})); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		remembered += without.asked - with.asked
		f := &fetching{judges: byFlow(seed%2 == 0)}
		if diff := cmp.Diff(want, carry(f.judges, f), cmp.AllowUnexported(outcome{})); diff != "" {
			t.Fatalf("seed %d, with memory fetched: %s", seed, diff)
		}
		fetched += f.packets
	}
	if remembered < 1000 || fetched < 1000 {
		t.Errorf("only %d verdicts were remembered, and memory was fetched for %d packets", remembered, fetched)
	}
}

// laterCounts denies every packet, and counts it in plain words until it is to publish.
type laterCounts struct{ pending, published int }

func (c *laterCounts) Decide(_ *hook.Packet, _ *hook.Permit, f *hook.Finding) hook.Verdict {
	f.Remember = true
	return hook.Drop
}

func (c *laterCounts) Denied(*hook.Packet, *hook.Finding) { c.pending++ }

func (c *laterCounts) Publish(int) { c.published, c.pending = c.published+c.pending, 0 }

// TestPublishDenied has hooks publish what they have counted at the end of each batch with denials, also those of former rules that a packet
// which has waited came under.
func TestPublishDenied(t *testing.T) {
	former, later := new(laterCounts), new(laterCounts)
	r := newRig(t, func(c *Config, _ *session.Config) { c.Session = []hook.SessionHook{former} })
	denied := func(n int, at time.Duration) {
		var frames []timed
		for range n {
			frames = append(frames, timed{0, tcpFrame(t, client, 9, server, 443, syn), ""})
		}
		r.batch(append(frames, timed{at, udpFrame(t, client, 53, server, 9, 10), ""})...) // this could be an answer, and waits
	}
	denied(3, 0)
	denied(2, time.Second) // the wait is over between denials by the later rules and the end of their batch
	step := 0
	r.source.onReceive = func() {
		switch step++; step {
		case 2:
			if former.published != 3 || former.pending != 0 {
				t.Errorf("at first %+v", former)
			}
			r.SetRules(&Rules{Session: []hook.SessionHook{later}, Zones: r.zones})
		case 3:
			if later.published != 2 || later.pending != 0 {
				t.Errorf("then %+v", later)
			}
		}
	}
	r.run()
	if *former != (laterCounts{published: 4}) || *later != (laterCounts{published: 3}) {
		t.Errorf("in the end %+v and %+v", former, later)
	}
}
