package worker

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/hook"
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

func synCheck(c *Config, _ *session.Config) { c.SynCheck = true }

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
