package policydeny

import (
	"slices"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/sdk"
)

// maxShadowCheck is up to how many policies are compared with each other: the cost goes with the square.
const maxShadowCheck = 8192

// warnShadowed warns of every policy that can never decide because one that is asked before it matches all that it does.
// What only several policies cover together is not found; what is reported is certain.
func warnShadowed(cfg sdk.Config, policies []policy) {
	if len(policies) > maxShadowCheck {
		return
	}
	for j := range policies {
		for i := range policies[:j] {
			if policies[i].covers(&policies[j]) {
				cfg.Warnf(keypath.Element("policy", policies[j].position), "never decides: policy[%d], %q, matches all that it matches",
					policies[i].position, policies[i].name)
				break
			}
		}
	}
}

// covers reports whether every packet that q matches is matched by p, which stands before it in the file, and p is asked
// first. Only policies of one sort are compared: a global policy is asked after all that name both zones, and those
// cannot cover it, because "any" is more than all zones.
func (p *policy) covers(q *policy) bool {
	return p.global() == q.global() && coversZones(p.from, q.from) && coversZones(p.to, q.to) &&
		coversTerms(p.terms, q.terms) && p.coversAddrs(q)
}

func coversZones(p, q []uint16) bool {
	if p == nil || q == nil {
		return p == nil
	}
	for _, zone := range q {
		if !slices.Contains(p, zone) {
			return false
		}
	}
	return true
}

// coversAddrs looks at the families that q can match packets of: those that both its sides have addresses of.
func (p *policy) coversAddrs(q *policy) bool {
	both := q.src.families & q.dst.families
	return p.src.covers(&q.src, both) && p.dst.covers(&q.dst, both)
}

// coversTerms reports whether every term of q is covered by one of p; nil terms are every application.
func coversTerms(p, q []application.Term) bool {
	if p == nil || q == nil {
		return p == nil
	}
	for i := range q {
		if !slices.ContainsFunc(p, func(t application.Term) bool { return coversTerm(&t, &q[i]) }) {
			return false
		}
	}
	return true
}

func coversTerm(p, q *application.Term) bool {
	return p.Proto == q.Proto && coversRange(p.Src, q.Src) && coversRange(p.Dst, q.Dst) &&
		(p.ICMPType == application.AnyICMP || p.ICMPType == q.ICMPType && (p.ICMPCode == application.AnyICMP || p.ICMPCode == q.ICMPCode))
}

func coversRange(p, q application.Range) bool { return p.Lo <= q.Lo && q.Hi <= p.Hi }
