package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/sdk/event"
)

// outbound permits what comes from trust as policy 7 and denies everything else.
func outbound(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
	if p.InZone == trust {
		permit.Policy = 7
		return hook.Pass
	}
	*f = hook.Finding{Found: true, Kind: event.PolicyDeny, Policy: 8}
	return hook.Drop
}

func synCheck(c *Config, _ *session.Config) { c.SynCheck = new(true) }

// TestP12AnswersAreNotDenied carries answers whose question was not seen, or finds them later.
func TestP12AnswersAreNotDenied(t *testing.T) {
	synAck := tcpFrame(t, server, 443, client, 1000, syn|ack)
	data := tcpFrame(t, server, 443, client, 1000, ack)
	request, answer := udpFrame(t, client, 40000, server, 53, 32), udpFrame(t, server, 53, client, 40000, 32)
	for _, c := range []struct {
		name       string
		opts       []option
		frames     []timed
		outOfState uint64
		want       []string
	}{
		{"SYN-ACK alone, not permitted", nil, []timed{{0, synAck, "wan0"}}, 1, nil},
		{"data of a server alone, not permitted", nil, []timed{{0, data, "wan0"}}, 1, nil},
		{"data of a client, syn_check", []option{synCheck}, []timed{{0, tcpFrame(t, client, 1000, server, 443, ack), ""}}, 1, nil},
		{"echo reply alone", nil, []timed{{0, echoFrame(t, server, client, 0, 1, 1), "wan0"}}, 1, nil},
		{"joined by the client", nil, []timed{{0, data, "wan0"}, {time.Millisecond, tcpFrame(t, client, 1000, server, 443, ack), ""}}, 1, []string{
			"0s session-open 192.0.2.10:1000>198.51.100.1:443/6 zones 1>2 if 11 id 1 policy 7 app junos-https"}},
		{"the answer of a question that is read later", nil, []timed{{0, answer, "wan0"}, {10 * time.Millisecond, request, ""}}, 0, []string{
			"0s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 7 app junos-dns-udp",
			"0s policy-deny 198.51.100.1:53>192.0.2.10:40000/17 zones 2>0 if 12 id 2 policy 8 app - action 0 icmp 0"}},
		{"a scanner with the port of a service", nil, []timed{{0, answer, "wan0"}}, 0, []string{
			"0s policy-deny 198.51.100.1:53>192.0.2.10:40000/17 zones 2>0 if 12 id 1 policy 8 app - action 0 icmp 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, append(c.opts, policy(outbound))...)
			r.batch(c.frames...)
			r.timeout(time.Second)
			r.expect(c.want...)
			if got := r.Counts().OutOfState; got != c.outOfState {
				t.Errorf("%d out of state, want %d", got, c.outOfState)
			}
		})
	}
}

// TestP12CoarseAnswer reads an answer before its question where packets have no receive times: it is counted and not denied.
func TestP12CoarseAnswer(t *testing.T) {
	m := newTeam(t, 2, true)
	request, answer := udpFrame(t, client, 40000, server, 53, 32), udpFrame(t, server, 53, client, 40000, 32)
	m.carry(1, 0, m.frame(answer, "wan0"))
	m.carry(0, 3*time.Millisecond, m.frame(request, "lan0"))
	closes, denials := m.end(time.Second)
	if len(closes) != 1 || len(denials) != 0 {
		t.Errorf("%q, denied %q", closes, denials)
	}
}

// TestP12CoarseRoles asks from a port of the system, where packets have no receive times. With several workers the question
// looks like an answer; the answers are nevertheless not denied, and whatever the policies say, one worker sees who asked.
func TestP12CoarseRoles(t *testing.T) {
	anyToAny := permitAs(7)
	for _, c := range []struct {
		name    string
		workers int
		answers int // the worker that carries the answers
		policy  sessionFunc
	}{
		{"two workers, one after the other", 2, 1, outbound},
		{"two workers, all on one", 2, 0, outbound},
		{"one worker", 1, 0, outbound},
		{"one worker, all permitted", 1, 0, anyToAny},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newTeam(t, c.workers, true)
			for _, w := range m.workers {
				w.Session = []hook.SessionHook{c.policy}
			}
			m.carry(0, 0, m.frame(udpFrame(t, client, 700, server, 5000, 32), "lan0"))
			for i := range 10 {
				m.carry(c.answers, time.Duration(i+1)*time.Millisecond, m.frame(udpFrame(t, server, 5000, client, 700, 32), "wan0"))
			}
			closes, denials := m.end(time.Second)
			want := []string{"192.0.2.10:700>198.51.100.1:5000/17 zones 1>2 policy 7 1/60 10/600 why 1"}
			if diff := cmp.Diff(want, closes); diff != "" {
				t.Error(diff)
			}
			if len(denials) != 0 {
				t.Errorf("denied %q", denials)
			}
		})
	}
}

// TestP12GivenUp gives sessions up for others, with one session per shard and two workers, and carries their answers before
// their questions or long after them: none of the answers is denied, but for the few whose place in what the table remembers
// another flow has taken.
func TestP12GivenUp(t *testing.T) {
	const flows = 300
	for _, c := range []struct {
		name   string
		port   uint16
		coarse bool
		lag    time.Duration // of the answers behind the questions
	}{
		{"before", 5000, false, -time.Millisecond},
		{"before, no receive times", 53, true, -time.Millisecond},
		{"after", 5000, false, 20 * time.Millisecond},
		{"after, no receive times", 53, true, 20 * time.Millisecond},
		{"long after", 5000, false, 100 * time.Millisecond},
		{"long after, no receive times", 5000, true, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newTeam(t, 2, c.coarse)
			table := session.New(session.Config{Max: 1, Seed: 1, Workers: 2, Timeouts: session.DefaultTimeouts()})
			for _, w := range m.workers {
				w.Sessions = table
			}
			type carried struct {
				at     time.Duration
				worker int
				frame  packet.Frame
			}
			var all []carried
			for i := range uint16(flows) {
				at := time.Duration(i) * 2 * time.Millisecond
				q := m.frame(udpFrame(t, client, 2000+i, server, c.port, 8), "lan0")
				a := m.frame(udpFrame(t, server, c.port, client, 2000+i, 8), "wan0")
				q.Time, a.Time = start+int64(at), start+int64(at+max(c.lag, time.Microsecond))
				all = append(all, carried{at + time.Millisecond, 0, q}, carried{at + time.Millisecond + c.lag, 1, a})
			}
			slices.SortStableFunc(all, func(a, b carried) int { return int(a.at - b.at) })
			for _, f := range all {
				m.carry(f.worker, f.at, f.frame)
			}
			if _, denials := m.end(time.Second); len(denials) > flows/50 {
				t.Errorf("%d answers denied of %d", len(denials), flows)
			}
			got, unkept := table.Stats(), uint64(0)
			for _, w := range m.workers {
				unkept += w.Counts().Unkept
			}
			if got.GivenUp+got.Full == 0 || unkept == 0 {
				t.Errorf("%d sessions given up, %d refused, %d answers without a session", got.GivenUp, got.Full, unkept)
			}
		})
	}
}

// TestP12FullTable fills a table of one session per shard and answers every question: none of the answers is denied, though
// no policy permits them as beginnings.
func TestP12FullTable(t *testing.T) {
	r := newRig(t, policy(outbound), func(_ *Config, s *session.Config) { s.Max = 1 })
	const flows = 1000
	for i := range uint16(flows) {
		at := time.Duration(i) * time.Millisecond
		r.batch(timed{at, udpFrame(t, client, 1000+i, server, 5000, 8), ""}, timed{at, udpFrame(t, server, 5000, client, 1000+i, 8), "wan0"})
	}
	for _, rec := range r.run() {
		if rec.Kind() == event.PolicyDeny {
			t.Fatalf("denied: %s", line(&rec))
		}
	}
	if got, full := r.Counts().Unkept, r.Sessions.Stats().Full; got != full || full == 0 {
		t.Errorf("%d answers were let pass of %d flows without a session", got, full)
	}
}

// TestLateIsBounded sends more packets that wait than there is room for: those without room are decided at once.
func TestLateIsBounded(t *testing.T) {
	r := newRig(t, policy(outbound))
	const packets = lateSize + 500
	for i := range uint16(packets) {
		r.batch(timed{time.Duration(i), udpFrame(t, server, 53, client, 10000+i, 8), "wan0"})
	}
	if got := len(r.run()); got != packets {
		t.Errorf("%d denials, want %d", got, packets)
	}
}
