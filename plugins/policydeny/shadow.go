package policydeny

import (
	"slices"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/sdk"
)

// maxShadowCheck is up to how many policies are compared with each other: the cost goes with the square.
const maxShadowCheck = 8192

// watched is a plugin's table that remembers whether a mistake was recorded in it: what a mistake has left out makes
// policies look wider or narrower than they are meant.
type watched struct {
	sdk.Config
	mistaken bool
}

func (w *watched) Errorf(key, format string, args ...any) {
	w.mistaken = true
	w.Config.Errorf(key, format, args...)
}

func (w *watched) Decode(into any) bool {
	ok := w.Config.Decode(into)
	w.mistaken = w.mistaken || !ok
	return ok
}

// placed is a policy in use, with its zones (nil = any) and where it stands in the file.
type placed struct {
	policy
	name     string
	index    int
	from, to []uint16
}

func (p *placed) global() bool { return p.from == nil || p.to == nil }

// warnShadowed warns of every policy that can never decide because one that is asked before it matches all that it does.
// What only several policies cover together is not found; what is reported is certain.
func warnShadowed(cfg sdk.Config, policies []placed) {
	if len(policies) > maxShadowCheck {
		return
	}
	for j := range policies {
		for i := range policies[:j] {
			if policies[i].covers(&policies[j]) {
				cfg.Warnf(elementKey("policy", policies[j].index), "never decides: policy[%d], %q, matches all that it matches",
					policies[i].index, policies[i].name)
				break
			}
		}
	}
}

// covers reports whether every packet that q matches is matched by p, which stands before it in the file, and p is asked
// first. Only policies of one sort are compared: a global policy is asked after all that name both zones, and those
// cannot cover it, because "any" is more than all zones.
func (p *placed) covers(q *placed) bool {
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
func (p *placed) coversAddrs(q *placed) bool {
	if len(q.src.v4) > 0 && len(q.dst.v4) > 0 && !(covers4(p.src.v4, q.src.v4) && covers4(p.dst.v4, q.dst.v4)) {
		return false
	}
	if len(q.src.v6) > 0 && len(q.dst.v6) > 0 && !(covers6(p.src.v6, q.src.v6) && covers6(p.dst.v6, q.dst.v6)) {
		return false
	}
	return true
}

// covers4 reports whether every range of q lies within one of p, which is exact: ranges of a set are not adjacent.
func covers4(p, q []span4) bool {
	i := 0
	for _, r := range q {
		for i < len(p) && p[i].hi < r.hi {
			i++
		}
		if i == len(p) || p[i].lo > r.lo {
			return false
		}
	}
	return true
}

// covers6 is covers4 for IPv6.
func covers6(p, q []span6) bool {
	i := 0
	for _, r := range q {
		for i < len(p) && p[i].hi.less(r.hi) {
			i++
		}
		if i == len(p) || r.lo.less(p[i].lo) {
			return false
		}
	}
	return true
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
