package filterlog

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/internal/keypath"
)

var (
	_ hook.Explainer = (*input)(nil)
	_ hook.Explainer = (*output)(nil)
)

// Explain implements [hook.Explainer].
func (in *input) Explain(p *hook.Packet, _ hook.Verdict, _ *hook.Finding) hook.Explanation {
	if _, attached := slices.BinarySearch(in.interfaces, p.Interface); !in.everywhere && !attached {
		return hook.Explanation{Looked: "nothing: the filter is not attached to the interface that the packet comes in on"}
	}
	return in.explain(p)
}

// Explain implements [hook.Explainer].
func (out *output) Explain(p *hook.Packet, _ hook.Verdict, _ *hook.Finding) hook.Explanation {
	if _, attached := slices.BinarySearch(out.zones, p.OutZone); !attached {
		return hook.Explanation{Looked: "nothing: the filter is not attached to the zone that the packet goes to"}
	}
	return out.explain(p)
}

// explain returns which terms have matched a packet that the filter has looked at.
func (f *filter) explain(p *hook.Packet) hook.Explanation {
	if f.family != 0 && f.family != p.Family {
		return hook.Explanation{Looked: "nothing: the packet is of the other address family"}
	}
	x := hook.Explanation{Looked: fmt.Sprintf("%d terms in order", len(f.actions))}
	if len(f.actions) == 1 {
		x.Looked = "1 term"
	}
	var a addresses
	for w := range f.words {
		for c := f.match(p, w, &a); c != 0; c &= c - 1 {
			i := w*64 + bits.TrailingZeros64(c)
			x.Matched = append(x.Matched, f.rule(i))
			if f.actions[i].kind != nextTerm {
				return x
			}
		}
	}
	x.Matched = append(x.Matched, hook.Rule{Sort: "end", Name: "of the terms", Then: "discard"})
	return x
}

// Rules implements [hook.Explainer].
func (f *filter) Rules() []hook.Rule {
	rules := make([]hook.Rule, len(f.actions))
	for i := range rules {
		rules[i] = f.rule(i)
	}
	return rules
}

// rule describes the term of that number.
func (f *filter) rule(i int) hook.Rule {
	a := &f.actions[i]
	then := [...]string{accept: "accept", discard: "discard", reject: "reject", resetTCP: "reject tcp-reset", nextTerm: "next term"}[a.kind]
	if a.log {
		then += ", log"
	}
	return hook.Rule{Sort: "term", Name: f.names[i], Key: keypath.Element("term", i), Then: then}
}
