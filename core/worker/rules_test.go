package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/sdk/event"
)

// sites notes which packets a set of rules has judged at which site, by source port.
type sites struct{ ingress, decided, denied, egress []uint16 }

// rules returns rules that note what they judge. With a policy of 0 they permit.
func (s *sites) rules(policy uint32, atIngress func()) *Rules {
	verdict := func(_ *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
		if policy == 0 {
			permit.Policy = 9
			return hook.Pass
		}
		*f = hook.Finding{Found: true, Kind: event.PolicyDeny, Policy: policy, Remember: true}
		return hook.Drop
	}
	return &Rules{
		Ingress: []hook.Hook{hookFunc(func(p *hook.Packet, _ *hook.Finding) hook.Verdict {
			s.ingress = append(s.ingress, p.SrcPort)
			if atIngress != nil {
				atIngress()
			}
			return hook.Pass
		})},
		Session: []hook.SessionHook{&noting{s, verdict}},
		Egress: []hook.Hook{hookFunc(func(p *hook.Packet, _ *hook.Finding) hook.Verdict {
			s.egress = append(s.egress, p.SrcPort)
			return hook.Pass
		})},
	}
}

type noting struct {
	*sites
	decide sessionFunc
}

func (n *noting) Decide(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
	n.decided = append(n.decided, p.SrcPort)
	return n.decide(p, permit, f)
}

func (n *noting) Denied(p *hook.Packet, _ *hook.Finding) { n.denied = append(n.denied, p.SrcPort) }

// TestP13Rules gives a worker other rules in the middle of a batch: they judge packets from the next batch on, and those before are
// judged by the former rules to their end, also one that waits until after the change, and what is denied again and again.
func TestP13Rules(t *testing.T) {
	var before, after sites
	var r *rig
	next := after.rules(0, nil)
	first := before.rules(1, func() { r.SetRules(next) })
	r = newRig(t, func(c *Config, _ *session.Config) { c.Rules = *first })
	waits := udpFrame(t, client, 7, server, 5000, 10) // denied, and could be the answer to a packet that comes later
	denied := tcpFrame(t, client, 8, server, 443, syn)
	r.batch(timed{0, waits, ""}, timed{0, denied, ""}, timed{0, denied, ""})
	r.batch(timed{10 * time.Millisecond, denied, ""}, timed{10 * time.Millisecond, udpFrame(t, client, 9, server, 53, 10), ""})
	r.timeout(time.Second)
	records := r.run()

	if !slices.Equal(before.ingress, []uint16{7, 8, 8}) || !slices.Equal(after.ingress, []uint16{8, 9}) {
		t.Errorf("at ingress the former rules have judged %v, the new ones %v", before.ingress, after.ingress)
	}
	if !slices.Equal(before.decided, []uint16{7, 8}) || !slices.Equal(after.decided, []uint16{8, 9}) {
		t.Errorf("at the session site the former rules have judged %v, the new ones %v", before.decided, after.decided)
	}
	if !slices.Equal(before.denied, []uint16{8, 8, 7}) || after.denied != nil {
		t.Errorf("the former rules have denied %v, the new ones %v", before.denied, after.denied)
	}
	if before.egress != nil || !slices.Equal(after.egress, []uint16{8, 9}) {
		t.Errorf("at egress the former rules have judged %v, the new ones %v", before.egress, after.egress)
	}
	kinds := make(map[event.Kind]int)
	for i := range records {
		kinds[records[i].Kind()]++
	}
	if kinds[event.PolicyDeny] != 3 || kinds[event.SessionOpen] != 2 {
		t.Errorf("records %v", lines(records))
	}
	if c := r.Counts(); c.Received != 5 || c.Passed != 2 || c.Dropped[hook.Session] != 3 {
		t.Errorf("counts %+v", c)
	}
}

// TestRulesBack goes over to other rules and back while a packet of the former waits: it is decided by its own, and what is
// remembered of denials is not.
func TestRulesBack(t *testing.T) {
	var before, after sites
	first, next := before.rules(1, nil), after.rules(0, nil)
	r := newRig(t, func(c *Config, _ *session.Config) { c.Rules = *first })
	r.SetRules(first)
	r.take(first)
	r.batch(timed{0, udpFrame(t, client, 7, server, 5000, 10), ""})
	r.batch(timed{time.Millisecond, tcpFrame(t, client, 8, server, 443, syn), ""})
	r.batch(timed{2 * time.Millisecond, tcpFrame(t, client, 10, server, 443, syn), ""})
	r.timeout(time.Second)
	step := 0
	r.source.onReceive = func() {
		if step++; step == 2 {
			r.SetRules(next)
		} else if step == 3 {
			r.SetRules(first)
		}
	}
	r.run()
	if !slices.Equal(before.denied, []uint16{10, 7}) || !slices.Equal(after.egress, []uint16{8}) {
		t.Errorf("the first rules have denied %v, the others let pass %v", before.denied, after.egress)
	}
	if !slices.Equal(after.decided, []uint16{8}) || !slices.Equal(before.decided, []uint16{7, 10}) {
		t.Errorf("the first rules were asked about %v, the others about %v", before.decided, after.decided)
	}
}
