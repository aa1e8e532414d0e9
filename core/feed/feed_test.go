package feed

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk/event"
)

func kinds(records []event.Record) (list []event.Kind) {
	for i := range records {
		list = append(list, records[i].Kind())
	}
	return list
}

// TestSession carries one session from its beginning to its end.
func TestSession(t *testing.T) {
	var kept source.Kept
	s := masqueraded(&kept)
	r := newRig(t, roomy, noLimit, &keeper{script: newScript(t, []source.Event{s}, []source.Event{as(s, source.Answered)}, []source.Event{as(s, source.Ended)})})
	got := r.run()
	if len(got) != 2 || got[0].Kind() != event.SessionOpen || got[1].Kind() != event.SessionClose {
		t.Fatalf("records %v, want an open and a close", kinds(got))
	}
	for i := range got {
		rec := &got[i]
		nat, translated := rec.NATSrc()
		if _, both := rec.NATDst(); !translated || both || nat != netip.MustParseAddrPort("198.51.100.99:61000") {
			t.Errorf("%v: source translated to %v (%v), destination %v", rec.Kind(), nat, translated, both)
		}
		if rec.InZone() != trust || rec.OutZone() != untrust || rec.SessionID() != 77 || rec.Src().String() != "192.0.2.10" || rec.DstPort() != 443 {
			t.Errorf("%v: zones %d to %d, session %d, %v to port %d", rec.Kind(), rec.InZone(), rec.OutZone(), rec.SessionID(), rec.Src(), rec.DstPort())
		}
		if rec.Policy() != 0 || rec.Generation != 9 || rec.Application() == 0 {
			t.Errorf("%v: policy %d, generation %d, application %d", rec.Kind(), rec.Policy(), rec.Generation, rec.Application())
		}
	}
	last := &got[1]
	if last.ClientPackets() != 6 || last.ClientBytes() != 600 || last.ServerPackets() != 5 || last.ServerBytes() != 5000 ||
		last.CloseReason() != event.CloseFIN || last.Elapsed() != 2 || last.Time() != end || got[0].Time() != begin {
		t.Errorf("close: %d packets, %d bytes; %d, %d; reason %d after %d s, at %d", last.ClientPackets(), last.ClientBytes(),
			last.ServerPackets(), last.ServerBytes(), last.CloseReason(), last.Elapsed(), last.Time())
	}
}

// TestTranslation pins which ends of a session a record calls translated.
func TestTranslation(t *testing.T) {
	for _, tc := range []struct {
		name                string
		proto               uint8
		flow, back          [2]string // source and destination of both directions
		source, destination string
	}{
		{"none", packet.ProtoTCP, [2]string{"192.0.2.1:1", "198.51.100.1:2"}, [2]string{"198.51.100.1:2", "192.0.2.1:1"}, "", ""},
		{"source", packet.ProtoUDP, [2]string{"192.0.2.1:1", "198.51.100.1:2"}, [2]string{"198.51.100.1:2", "198.51.100.9:1"}, "198.51.100.9:1", ""},
		{"source port", packet.ProtoUDP, [2]string{"192.0.2.1:1", "198.51.100.1:2"}, [2]string{"198.51.100.1:2", "192.0.2.1:9"}, "192.0.2.1:9", ""},
		{"destination", packet.ProtoTCP, [2]string{"198.51.100.1:1", "198.51.100.9:80"}, [2]string{"203.0.113.5:8080", "198.51.100.1:1"}, "", "203.0.113.5:8080"},
		{
			"both", packet.ProtoTCP, [2]string{"192.0.2.1:1", "198.51.100.9:80"}, [2]string{"203.0.113.5:8080", "203.0.113.1:7"}, "203.0.113.1:7", "203.0.113.5:8080",
		},
		{"echo", packet.ProtoICMP, [2]string{"192.0.2.1:55", "198.51.100.1:0"}, [2]string{"198.51.100.1:66", "198.51.100.9:0"}, "198.51.100.9:66", ""},
		{"IPv6", packet.ProtoTCP, [2]string{"[2001:db8::1]:1", "[2001:db8::2]:2"}, [2]string{"[2001:db8::3]:2", "[2001:db8::1]:1"}, "", "[2001:db8::3]:2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := source.Event{What: source.Began, Kept: new(source.Kept), Flow: tuple(tc.proto, tc.flow[0], tc.flow[1]), Reply: tuple(tc.proto, tc.back[0], tc.back[1])}
			got := newRig(t, roomy, noLimit, &keeper{script: newScript(t, []source.Event{s})}).run()
			if len(got) != 1 {
				t.Fatalf("records %v", kinds(got))
			}
			check := func(end string, nat netip.AddrPort, translated bool, want string) {
				t.Helper()
				if translated != (want != "") || translated && nat != netip.MustParseAddrPort(want) {
					t.Errorf("%s: %v, translated %v; want %q", end, nat, translated, want)
				}
			}
			nat, ok := got[0].NATSrc()
			check("source", nat, ok, tc.source)
			nat, ok = got[0].NATDst()
			check("destination", nat, ok, tc.destination)
		})
	}
}

// TestJoin gives sessions the rules that let them through: whatever hook has seen the packet, in whatever order the streams are
// configured, though the rule is read after the session; and takes zones from the interfaces that the rule has seen.
func TestJoin(t *testing.T) {
	forwarded := source.Event{
		What: source.Began, Time: begin, Created: begin, Session: 5,
		Flow:  tuple(packet.ProtoTCP, "192.0.2.10:40000", "198.51.100.9:80"),
		Reply: tuple(packet.ProtoTCP, "203.0.113.5:8080", "203.0.113.1:7"),
	}
	for name, seen := range map[string]packet.Tuple{
		"before both translations": forwarded.Flow,
		"between them":             tuple(packet.ProtoTCP, "192.0.2.10:40000", "203.0.113.5:8080"),
		"behind both":              tuple(packet.ProtoTCP, "203.0.113.1:7", "203.0.113.5:8080"),
	} {
		t.Run(name, func(t *testing.T) {
			var kept source.Kept
			s := forwarded
			s.Kept = &kept
			rule := &source.Rule{Name: "web-in"}
			sessions := &keeper{script: newScript(t, []source.Event{s, as(s, source.Answered), as(s, source.Ended)})}
			verdicts := newScript(t)
			// The rule is there once the session has been read.
			sessions.onRead = func(int) {
				if len(sessions.batches) == 1 {
					verdicts.batches = [][]source.Event{{{What: source.Accepted, Flow: seen, Rule: rule, In: wan0, Out: dmz0}}}
				}
			}
			verdicts.end = nil
			sessions.again, verdicts.again = 0, 0
			verdicts.onRead = func(n int) {
				if n > 2 {
					verdicts.end = io.EOF
				}
			}
			r := newRig(t, roomy, noLimit, sessions, verdicts)
			got := r.run()
			if len(got) != 2 {
				t.Fatalf("records %v, want an open and a close", kinds(got))
			}
			for i := range got {
				rec := &got[i]
				if id := rec.Policy(); id == 0 || r.names.policies[id-1] != "web-in" {
					t.Errorf("%v: policy %d of %q", rec.Kind(), id, r.names.policies)
				}
				if rec.InZone() != untrust || rec.OutZone() != dmz || rec.Interface() != wan0 || rec.Generation != 10 {
					t.Errorf("%v: zones %d to %d, interface %d, generation %d", rec.Kind(), rec.InZone(), rec.OutZone(), rec.Interface(), rec.Generation)
				}
			}
			if c := r.Counts(); c["accepted"] != 1 || c["joined"] != 1 || c["began"] != 1 || c["ended"] != 1 {
				t.Errorf("counts %v", c)
			}
		})
	}
}

// TestLateJoin gives the close record the rule of a session that was told of before its rule.
func TestLateJoin(t *testing.T) {
	var kept source.Kept
	s := masqueraded(&kept)
	sessions := &keeper{script: newScript(t, []source.Event{s, as(s, source.Answered)}, []source.Event{as(s, source.Ended)})}
	verdicts := newScript(t, nil, []source.Event{{What: source.Accepted, Flow: s.Flow, Rule: &source.Rule{Name: "out"}}})
	verdicts.onRead = func(n int) { // with the second batch of the sessions
		if n == 1 {
			verdicts.batches = verdicts.batches[1:]
			verdicts.end, verdicts.again = nil, -1
			held := verdicts.batches
			verdicts.batches = nil
			verdicts.onRead = func(int) { verdicts.batches, verdicts.end, verdicts.onRead = held, io.EOF, nil }
		}
	}
	got := newRig(t, roomy, noLimit, sessions, verdicts).run()
	if len(got) != 2 || got[0].Policy() != 0 || got[1].Policy() == 0 {
		t.Fatalf("records %v: policies %v", kinds(got), got)
	}
}

// TestJoinsAreBounded forgets the oldest rules, counts those that were young, and never joins one of a former time.
func TestJoinsAreBounded(t *testing.T) {
	j := newJoins()
	flow := func(i int) packet.Tuple {
		f := tuple(packet.ProtoUDP, "192.0.2.1:1", "198.51.100.1:2")
		f.Src[1], f.Src[2], f.Src[3] = byte(i>>16), byte(i>>8), byte(i)
		return f
	}
	session := func(i int) *source.Event { return &source.Event{Flow: flow(i), Reply: flow(i).Reverse()} }
	rule := new(source.Rule)
	lost := 0
	for i := range maxJoins + 10 {
		if j.put(&source.Event{Flow: flow(i), Rule: rule}, 1) {
			lost++
		}
	}
	if lost != 10 || len(j.byFlow) != maxJoins {
		t.Errorf("%d lost, %d kept; want 10, %d", lost, len(j.byFlow), maxJoins)
	}
	if j.take(session(9), 2, math.MaxInt64) != nil {
		t.Error("what made room is joined")
	}
	if e := j.take(session(10), 2, math.MaxInt64); e == nil || e.flow != flow(10) {
		t.Errorf("the oldest that is left is %v", e)
	}
	if j.take(session(10), 2, math.MaxInt64) != nil {
		t.Error("a rule is joined twice")
	}
	if j.take(session(11), 1+joinFor, math.MaxInt64) != nil {
		t.Error("a rule of a former time is joined")
	}
	for i := range maxJoins {
		if j.put(&source.Event{Flow: flow(i), Rule: rule}, 3*joinFor) {
			t.Fatal("what nobody asks for any more counts as lost")
		}
	}
	if len(j.byFlow) > maxJoins {
		t.Errorf("%d flows in the index of %d entries", len(j.byFlow), maxJoins)
	}
}

// TestPackets makes records of what rules did with packets.
func TestPackets(t *testing.T) {
	flow := tuple(packet.ProtoTCP, "192.0.2.10:40000", "198.51.100.1:22")
	rule, other := &source.Rule{Name: "fwd-web"}, &source.Rule{Name: "fwd-web"}
	events := []source.Event{
		{What: source.Denied, Flow: flow, Rule: rule, In: lan0, Out: wan0, Time: begin},
		{What: source.Denied, Flow: flow, Rule: other, Action: event.ActionReject, Time: begin},
		{What: source.Logged, Flow: flow, Rule: rule, Action: event.ActionPermit, Out: wan0, Time: begin},
		{What: source.Denied, Flow: flow, Rule: rule, In: 99, Zone: dmz, Time: begin},
		{What: source.Accepted, Flow: flow, Rule: rule, Action: event.ActionPermit, In: lan0, Time: begin},
	}
	r := newRig(t, roomy, noLimit, newScript(t, events))
	got := r.run()
	type want struct {
		kind         event.Kind
		in, out      uint16
		intf         uint32
		action       event.Action
		at           event.FilterSource
		policy, term string
	}
	wants := []want{
		{event.PolicyDeny, trust, untrust, lan0, event.ActionDeny, 0, "fwd-web", ""},
		{event.PolicyDeny, trust, untrust, 0, event.ActionReject, 0, "fwd-web", ""},
		{event.FilterLog, trust, untrust, 0, event.ActionPermit, event.FilterOutput, "", "fwd-web"},
		{event.PolicyDeny, dmz, untrust, 0, event.ActionDeny, 0, "fwd-web", ""},
		{event.FilterLog, trust, untrust, lan0, event.ActionPermit, event.FilterInput, "", "fwd-web"},
	}
	if len(got) != len(wants) {
		t.Fatalf("records %v", kinds(got))
	}
	for i, w := range wants {
		rec := &got[i]
		g := want{kind: rec.Kind(), in: rec.InZone(), out: rec.OutZone(), intf: rec.Interface(), action: rec.Action()}
		if rec.Kind() == event.PolicyDeny {
			g.policy = r.names.policies[rec.Policy()-1]
		} else {
			g.at, g.term = rec.FilterSource(), r.names.filters[rec.Filter()-1]
		}
		if g != w {
			t.Errorf("record %d: %+v, want %+v", i, g, w)
		}
	}
	if len(r.names.policies) != 1 || len(r.names.filters) != 1 {
		t.Errorf("policies %q, filters %q", r.names.policies, r.names.filters)
	}
}

// TestSilent tells only the end of a session that began before the daemon.
func TestSilent(t *testing.T) {
	var kept source.Kept
	s := masqueraded(&kept)
	s.Silent = true
	r := newRig(t, roomy, noLimit, &keeper{script: newScript(t, []source.Event{s, as(s, source.Answered)}, []source.Event{as(s, source.Ended)})})
	if got := r.run(); len(got) != 1 || got[0].Kind() != event.SessionClose || got[0].InZone() != trust {
		t.Errorf("records %v", kinds(got))
	}
	if c := r.Counts(); c["silent"] != 1 {
		t.Errorf("counts %v", c)
	}
}

// TestP5Unread puts a loss record between what was before the loss and what was behind it.
func TestP5Unread(t *testing.T) {
	var one, two source.Kept
	lost := source.Event{What: source.Lost, Created: begin, Time: end, Lost: event.LossCounts{event.SessionClose: 41}}
	got := newRig(t, roomy, noLimit, &keeper{script: newScript(t, []source.Event{masqueraded(&one), lost, masqueraded(&two)})}).run()
	if len(got) != 3 || got[1].Kind() != event.Loss {
		t.Fatalf("records %v", kinds(got))
	}
	if c := got[1].LossCounts(); got[1].LossReason() != event.LossUnread || c.Total() != 41 || c[event.SessionClose] != 41 ||
		got[1].LossSince() != begin || got[1].Time() != end {
		t.Errorf("loss: %v, %v, from %d to %d", got[1].LossReason(), c, got[1].LossSince(), got[1].Time())
	}
}

// TestP3Owed tells the beginning of a session when it is answered, where the limiter or the ring had no room before; once; and
// refuses it where the session ends unanswered.
func TestP3Owed(t *testing.T) {
	small := replay.Limits{Slots: 64, Telemetry: 8, PerKind: 4}
	for name, tc := range map[string]struct {
		limits     replay.Limits
		unanswered admission.Rate
	}{
		"limiter": {roomy, admission.Rate{PerSecond: 1, Burst: 4}},
		"ring":    {small, noLimit},
	} {
		t.Run(name, func(t *testing.T) {
			const sessions = 20
			kept := make([]source.Kept, sessions)
			var began, answered, ended []source.Event
			for i := range kept {
				s := masqueraded(&kept[i])
				s.Session, s.Flow.SrcPort = uint64(i), uint16(i)
				began = append(began, s)
				if i%2 == 0 {
					answered = append(answered, as(s, source.Answered))
				}
				e := as(s, source.Ended)
				e.Answered = i%2 == 0
				ended = append(ended, e)
			}
			r := newRig(t, tc.limits, tc.unanswered, &keeper{script: newScript(t, began, answered, ended)})
			opened, closed := make(map[uint64]int), make(map[uint64]int)
			for _, rec := range r.run() {
				switch rec.Kind() {
				case event.SessionOpen:
					opened[rec.SessionID()]++
				case event.SessionClose:
					closed[rec.SessionID()]++
				}
			}
			for i := range uint64(sessions) {
				if i%2 == 0 && (opened[i] != 1 || closed[i] != 1) || opened[i] > 1 || closed[i] > 1 {
					t.Errorf("session %d: %d opens, %d closes", i, opened[i], closed[i])
				}
			}
			if len(opened) >= sessions {
				t.Errorf("%d sessions were told of: nothing was refused", len(opened))
			}
			led := r.gate.Ledger()
			for _, k := range []event.Kind{event.SessionOpen, event.SessionClose} {
				if s := &led.Sinks[0]; led.Offered[k] != sessions || led.Admitted[k] != s.Queued[k]+s.OverBudget[k] {
					t.Errorf("%v: %d offered, %d admitted, %d queued, %d over budget", k, led.Offered[k], led.Admitted[k], s.Queued[k], s.OverBudget[k])
				}
			}
		})
	}
}

// TestUnkept tells of the beginning of a session that its source has no room for, if the limiter lets it, and of its end.
func TestUnkept(t *testing.T) {
	s := masqueraded(nil)
	r := newRig(t, roomy, admission.Rate{PerSecond: 1, Burst: 1},
		&keeper{script: newScript(t, []source.Event{s, s, as(s, source.Answered), as(s, source.Ended)})})
	got := r.run()
	if ks := kinds(got); !slices.Equal(ks, []event.Kind{event.SessionOpen, event.SessionClose, event.Loss}) {
		t.Fatalf("records %v", ks)
	}
	if c := &got[1]; c.InZone() != trust || c.OutZone() != untrust || c.ServerBytes() != 5000 || c.SessionID() != 77 {
		t.Errorf("close: zones %d to %d, %d bytes, session %d", c.InZone(), c.OutZone(), c.ServerBytes(), c.SessionID())
	}
	if led := r.gate.Ledger(); led.Offered[event.SessionOpen] != 2 || led.RateLimited[event.SessionOpen] != 1 || led.Offered[event.SessionClose] != 1 {
		t.Errorf("%d opens offered, %d limited", led.Offered[event.SessionOpen], led.RateLimited[event.SessionOpen])
	}
}

// TestNoRoomForNames has no room for the names of rules: their events are told and counted, and no generation is made for them.
func TestNoRoomForNames(t *testing.T) {
	rule := &source.Rule{Name: "x"}
	r := newRig(t, roomy, noLimit, newScript(t, []source.Event{{What: source.Denied, Rule: rule}, {What: source.Logged, Rule: rule}, {What: source.Denied, Rule: rule}}))
	r.names.full = true
	if got := r.run(); len(got) != 3 || got[0].Policy() != 0 {
		t.Errorf("records %v", kinds(got))
	}
	if n := r.Counts()["unnamed"]; n != 3 || r.names.published != 0 {
		t.Errorf("%d unnamed, want 3; %d generations", n, r.names.published)
	}
}

// TestEnds pins what ends a feed: the end of every stream, not of one; an error; the context, also while it waits.
func TestEnds(t *testing.T) {
	first, second := newScript(t), newScript(t, nil, nil, []source.Event{{What: source.Denied, Rule: &source.Rule{Name: "x"}}})
	if got := newRig(t, roomy, noLimit, first, second).run(); len(got) != 1 {
		t.Errorf("records %v: the end of one stream ended the other", kinds(got))
	}
	if first.reads != 1 {
		t.Errorf("a stream that has ended was read %d times", first.reads)
	}

	failing := newScript(t, []source.Event{{What: source.Denied, Rule: &source.Rule{Name: "x"}}})
	failing.end = errors.New("netlink is gone")
	r := newRig(t, roomy, noLimit, failing)
	if err := r.Run(t.Context()); !errors.Is(err, failing.end) {
		t.Errorf("error %v", err)
	}
	if got := r.records(); len(got) != 1 {
		t.Errorf("records %v before the error", kinds(got))
	}

	silent := newScript(t)
	silent.end, silent.again = nil, -1
	ctx, cancel := context.WithCancel(t.Context())
	silent.onRead = func(n int) {
		if n == 1 {
			go cancel()
		}
	}
	if err := newRig(t, roomy, noLimit, silent).Run(ctx); err != nil {
		t.Errorf("after the context has ended: %v", err)
	}
}

// TestFlood gives each stream its turn, however much another has to say.
func TestFlood(t *testing.T) {
	flood := newScript(t)
	flood.end, flood.again = nil, 0
	other := newScript(t)
	other.onRead = func(int) { flood.end = io.EOF }
	newRig(t, roomy, noLimit, flood, other).run()
	if flood.reads > 2*maxReads {
		t.Errorf("%d reads of one stream before the other had its turn", flood.reads)
	}
}

// TestSessions lists the sessions that live while others begin.
func TestSessions(t *testing.T) {
	kept := source.Kept{Carried: true} // however early they are listed
	s := masqueraded(&kept)
	k := &keeper{script: newScript(t)}
	for range 200 {
		k.batches = append(k.batches, []source.Event{s})
	}
	r := newRig(t, roomy, noLimit, k)
	k.live = []source.Event{s, s}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			n := 0
			for rec := range r.Sessions() {
				if n++; rec.SessionID() != 77 || rec.Time() != begin || rec.Kind() != event.SessionOpen {
					t.Errorf("session %d at %d", rec.SessionID(), rec.Time())
				}
			}
			if n != 2 {
				t.Errorf("%d sessions, want 2", n)
			}
			for range r.Sessions() {
				break
			}
		}
	}()
	r.run()
	<-done
}

// TestNext pins how long a feed waits: as long as the stream that is to be read first.
func TestNext(t *testing.T) {
	a, b := newScript(t), newScript(t)
	a.end, a.again = nil, 300*time.Millisecond
	b.end, b.again = nil, -1
	r := newRig(t, roomy, noLimit, a, b)
	r.begin()
	if wait, err := r.pass(); wait != 300*time.Millisecond || err != nil {
		t.Errorf("waits %v, %v", wait, err)
	}
	a.again = -1
	if wait, err := r.pass(); wait != idle || err != nil {
		t.Errorf("waits %v, %v", wait, err)
	}
}

// TestP1P5Random tells random lives of random sessions over a small ring that is read now and then, and checks the sums, that every
// session that was answered is opened once before it is closed, and that the stream has no gap.
func TestP1P5Random(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		kept := make([]source.Kept, 40)
		state := make([]int, len(kept))
		var batches [][]source.Event
		id := uint64(0)
		ids := make([]uint64, len(kept))
		answered := make(map[uint64]bool)
		for range 60 {
			var batch []source.Event
			free := make(map[int]bool) // what ended in this batch is used again after it
			for range rnd.IntN(source.EventBatchSize) {
				i := rnd.IntN(len(kept))
				if free[i] {
					continue
				}
				s := masqueraded(&kept[i])
				switch {
				case state[i] == 0:
					id++
					ids[i], state[i] = id, 1
				case state[i] == 1 && rnd.IntN(2) == 0:
					s.What, state[i] = source.Answered, 2
					answered[ids[i]] = true
				default:
					was := state[i]
					s = as(s, source.Ended)
					s.Answered, state[i] = was == 2, 0
					free[i] = true
				}
				s.Session = ids[i]
				batch = append(batch, s)
			}
			batches = append(batches, batch)
		}
		script := newScript(t, batches...)
		r := newRig(t, replay.Limits{Slots: 512, Telemetry: 64, PerKind: 16}, admission.Rate{PerSecond: 1000, Burst: 20}, &keeper{script: script})
		var all []event.Record
		script.onRead = func(int) { all = append(all, r.records()...) }
		all = append(all, r.run()...)
		r.gate.AnnounceMissing(0, nil)
		all = append(all, r.records()...)
		led := r.gate.Ledger()
		var told, lost [event.NumKinds]uint64
		opened, closed := make(map[uint64]bool), make(map[uint64]bool)
		for i := range all {
			rec := &all[i]
			if rec.Seq() != event.Seq(i+1) {
				t.Fatalf("seed %d: record %d has the number %d", seed, i, rec.Seq())
			}
			told[rec.Kind()]++
			switch rec.Kind() {
			case event.SessionOpen:
				if opened[rec.SessionID()] || closed[rec.SessionID()] {
					t.Fatalf("seed %d: session %d is opened twice, or after its end", seed, rec.SessionID())
				}
				opened[rec.SessionID()] = true
			case event.SessionClose:
				closed[rec.SessionID()] = true
			case event.Loss:
				for k, n := range rec.LossCounts() {
					lost[k] += n
				}
			}
		}
		for id := range answered {
			if !opened[id] {
				t.Fatalf("seed %d: session %d was answered, and not told of", seed, id)
			}
		}
		for _, k := range []event.Kind{event.SessionOpen, event.SessionClose} {
			sink := &led.Sinks[0]
			if led.Admitted[k] != sink.Queued[k]+sink.OverBudget[k] || sink.Queued[k] != told[k] || led.Offered[k] != told[k]+lost[k] {
				t.Fatalf("seed %d, %v: %d offered, %d admitted, %d queued, %d over budget; %d told, %d lost", seed, k,
					led.Offered[k], led.Admitted[k], sink.Queued[k], sink.OverBudget[k], told[k], lost[k])
			}
		}
	}
}

// A session whose open record is owed, and of which only its end says that it was answered, is told of.
func TestP3AnsweredAtItsEnd(t *testing.T) {
	kept := make([]source.Kept, 2)
	first, second := masqueraded(&kept[0]), masqueraded(&kept[1])
	first.Flow.SrcPort, second.Session = 1, 78
	r := newRig(t, roomy, admission.Rate{PerSecond: 1, Burst: 1},
		&keeper{script: newScript(t, []source.Event{first, second}, []source.Event{as(second, source.Ended)})})
	opens := 0
	for _, rec := range r.run() {
		if rec.Kind() == event.SessionOpen && rec.SessionID() == 78 {
			opens++
		}
	}
	if opens != 1 {
		t.Errorf("%d open records of an answered session", opens)
	}
}

// The rule of a packet that begins a session anew is that of the new session, not of the one of the same tuple that ended just before.
func TestJoinOfReusedTuple(t *testing.T) {
	kept := make([]source.Kept, 2)
	old := masqueraded(&kept[0])
	old.Silent = true
	renewed := masqueraded(&kept[1])
	renewed.Session = 78
	rule := source.Event{What: source.Accepted, Action: event.ActionPermit, Flow: old.Flow, In: lan0, Out: wan0, Rule: &source.Rule{Name: "web"}, Time: begin}
	sessions := &keeper{script: newScript(t, []source.Event{old}, []source.Event{as(old, source.Ended), renewed})}
	rules := newScript(t)
	rules.onRead = func(n int) {
		if n == 2 {
			rules.batches = [][]source.Event{{rule}}
		}
	}
	rules.end = nil
	rules.again = -1
	r := newRig(t, roomy, noLimit, sessions, rules)
	r.begin()
	for range 3 {
		if _, err := r.pass(); err != nil {
			t.Fatal(err)
		}
	}
	for _, rec := range r.records() {
		if rec.Kind() == event.SessionOpen && rec.Policy() == 0 || rec.Kind() == event.SessionClose && rec.Policy() != 0 {
			t.Error("the rule is that of the session before")
		}
	}
}

// TestSucceed ends a feed while a rule waits for its session. The next one joins the two if it reads sessions, also if one came in between that
// awaited them; one that does not tells of what rules let through by itself. What was counted goes on.
func TestSucceed(t *testing.T) {
	var kept source.Kept
	begun := masqueraded(&kept)
	accepted := source.Event{What: source.Accepted, Action: event.ActionPermit, Flow: begun.Flow, In: lan0, Out: wan0, Rule: &source.Rule{Name: "web"}, Time: begin}
	for _, c := range []struct {
		name             string
		streams          []source.EventStream
		between          bool // another feed
		joined, sessions uint64
		logged           int
	}{
		{"sessions and rules", []source.EventStream{&keeper{script: newScript(t, []source.Event{begun})}, newScript(t)}, false, 1, 1, 0},
		{"sessions later", []source.EventStream{&keeper{script: newScript(t, []source.Event{begun})}, newScript(t)}, true, 1, 1, 0},
		{"rules", []source.EventStream{newScript(t, []source.Event{accepted})}, false, 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			former := newRig(t, roomy, noLimit, &keeper{script: newScript(t)}, newScript(t, []source.Event{accepted}))
			if n := len(former.run()); n != 0 {
				t.Fatalf("%d records of a rule that waits for its session", n)
			}
			told := uint64(1)
			if c.between {
				told++
				other := accepted
				other.Flow.SrcPort++
				awaiting := newRig(t, roomy, noLimit, newScript(t, []source.Event{other}))
				awaiting.AwaitsSessions = true
				awaiting.Succeed(former.Feed)
				if n := len(awaiting.run()); n != 0 {
					t.Fatalf("%d records of rules that wait for their sessions", n)
				}
				former = awaiting
			}
			r := newRig(t, roomy, noLimit, c.streams...)
			r.Succeed(former.Feed)
			logged := 0
			for _, rec := range r.run() {
				switch rec.Kind() {
				case event.FilterLog:
					logged++
				case event.SessionOpen:
					if rec.Policy() == 0 {
						t.Error("the session has no rule")
					}
				}
			}
			counts := r.Counts()
			if logged != c.logged || counts["joined"] != c.joined || counts["began"] != c.sessions || counts["accepted"] != told+uint64(c.logged) {
				t.Errorf("%d filter records, counts %v", logged, counts)
			}
		})
	}
}
