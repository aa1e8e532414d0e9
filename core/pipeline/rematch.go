package pipeline

import (
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/worker"
)

// rematching ends the sessions that the policies of a configuration deny, beside the workers.
type rematching struct {
	pl      *Pipeline
	rules   *worker.Rules // of the configuration
	permits []func(*hook.Packet) bool
	stopped atomic.Bool
}

// rematchEvery is how often it is looked whether the workers have taken the rules over.
const rematchEvery = 5 * time.Millisecond

// rematch has the sessions that live asked about at the hooks of a configuration that has just been taken over. The lock of reloads is
// held.
func (pl *Pipeline) rematch(set *ruleSet, rules *worker.Rules) {
	r := &rematching{pl: pl, rules: rules}
	for _, h := range set.hooks {
		if m, ok := h.Session.(hook.Rematcher); ok {
			r.permits = append(r.permits, m.Rematch())
		}
	}
	if pl.running.rematching = r; pl.running.begun {
		pl.running.beside.Go(r.run)
	}
}

// stopRematching ends what an earlier configuration has begun. The lock of reloads is held.
func (pl *Pipeline) stopRematching() {
	if r := pl.running.rematching; r != nil {
		r.stopped.Store(true)
	}
	pl.running.rematching = nil
}

// run waits until no session can begin by the former rules, and then ends those that the hooks deny.
func (r *rematching) run() {
	ticker := time.NewTicker(rematchEvery)
	defer ticker.Stop()
	for !r.pl.judges(r.rules) {
		if <-ticker.C; r.over() {
			return
		}
	}
	now, _ := r.pl.readers.Load().clock()
	p := new(hook.Packet)
	n := r.pl.sessions.Withdraw(now, func(s *session.Session) bool {
		if r.over() {
			return true
		}
		first(p, s, now)
		for _, permits := range r.permits {
			if !permits(p) {
				return false
			}
		}
		return true
	})
	r.pl.log.Info("the policies were asked about the sessions that live", "ended", n)
}

// judges reports whether every worker judges by these rules, and by no others any more.
func (pl *Pipeline) judges(rules *worker.Rules) bool {
	for _, w := range pl.readers.Load().workers {
		if by := w.Judges(); by != nil && by != rules {
			return false
		}
	}
	return true
}

// over reports whether nothing is to be ended any more.
func (r *rematching) over() bool { return r.stopped.Load() || r.pl.ended.Load() }

// first makes the packet that may have begun a session, as policies see it. Of ICMP, only echoes last longer than their answers.
func first(p *hook.Packet, s *session.Session, now int64) {
	*p = hook.Packet{Time: now, Interface: s.Interface, InZone: s.InZone, OutZone: s.OutZone, App: s.App}
	p.Tuple, p.HasHead, p.HasL4 = s.Client, true, true
	switch s.Client.Proto {
	case packet.ProtoTCP:
		p.TCPFlags = packet.SYN
	case packet.ProtoICMP:
		p.ICMPType = packet.ICMPEchoRequest
	case packet.ProtoICMPv6:
		p.ICMPType = packet.ICMPv6EchoRequest
	}
}
