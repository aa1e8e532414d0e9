package policydeny

import (
	"slices"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/internal/keypath"
)

var _ hook.Overlapper = (*engine)(nil)

// Overlap implements [hook.Overlapper].
func (e *engine) Overlap(a, b string) bool {
	p, q := e.byKey(a), e.byKey(b)
	if p == nil || q == nil {
		return false // the default is asked last, wherever it stands
	}
	return p.global() == q.global() && p.overlaps(q)
}

// byKey returns the policy of that key, nil if it is none.
func (e *engine) byKey(key string) *policy {
	_, rest, _ := keypath.Next(key) // "policy"
	part, _, ok := keypath.Next(rest)
	if !ok || !part.Element {
		return nil
	}
	i, found := slices.BinarySearchFunc(e.policies, part.Index, func(p policy, position int) int { return p.position - position })
	if !found {
		return nil
	}
	return &e.policies[i]
}

// overlaps reports whether a packet can match both policies. Where the sides are too large to tell it says yes.
func (p *policy) overlaps(q *policy) bool {
	if !overlapZones(p.from, q.from) || !overlapZones(p.to, q.to) || !overlapTerms(p.terms, q.terms) {
		return false
	}
	for _, family := range []families{hasIPv4, hasIPv6} {
		if p.src.overlaps(&q.src, family) && p.dst.overlaps(&q.dst, family) {
			return true
		}
	}
	return false
}

func overlapZones(p, q []uint16) bool {
	return p == nil || q == nil || slices.ContainsFunc(p, func(zone uint16) bool { return slices.Contains(q, zone) })
}

func overlapTerms(p, q []application.Term) bool {
	if p == nil || q == nil {
		return true
	}
	return slices.ContainsFunc(p, func(t application.Term) bool {
		return slices.ContainsFunc(q, func(u application.Term) bool { return overlapTerm(&t, &u) })
	})
}

func overlapTerm(t, u *application.Term) bool {
	icmp := func(a, b int16) bool { return a == application.AnyICMP || b == application.AnyICMP || a == b }
	ports := func(a, b application.Range) bool { return a.Lo <= b.Hi && b.Lo <= a.Hi }
	return t.Proto == u.Proto && ports(t.Src, u.Src) && ports(t.Dst, u.Dst) && icmp(t.ICMPType, u.ICMPType) && icmp(t.ICMPCode, u.ICMPCode)
}

// overlaps reports whether an address of that one family is of both sides.
func (p *side) overlaps(q *side, family families) bool {
	if p.families&q.families&family == 0 {
		return false
	}
	mine, theirs := union(p.sets), union(q.sets)
	if mine.size > maxFlat || theirs.size > maxFlat {
		return true
	}
	switch {
	case !p.excluded && !q.excluded:
		return overlap(mine.ranges(), theirs.ranges(), family)
	case !p.excluded: // an address of p that q does not list
		return !rangesWithin(mine.ranges(), theirs.ranges(), family)
	case !q.excluded:
		return !rangesWithin(theirs.ranges(), mine.ranges(), family)
	}
	both := newSide([]*set{mine, theirs}, true)
	return both.families&family != 0
}
