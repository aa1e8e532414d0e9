package policydeny

import (
	"slices"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/sdk/event"
)

// policy is what one policy matches.
type policy struct {
	name     string
	position int      // in the file
	from, to []uint16 // zones; nil = any, known or not
	src, dst side

	applications []string // nil = every application
	terms        []application.Term
	termCounts   []int // how many of the terms are of each application
}

// global reports whether the policy is for any zone on at least one side. It is then asked after all that name both.
func (p *policy) global() bool { return p.from == nil || p.to == nil }

// decision is what one policy, or the default, decides.
type decision struct {
	timeout uint32 // of a permit, seconds; 0 = as the predefined application has it
	action  event.Action
	noOpen  bool // no record of a session's beginning, or of a denial
	noClose bool // of a permit
	byTerm  bool // of a permit: the timeout is that of the term which the packet matches
}

// inheritTimeout gives a permit without a timeout of its own that of its applications.
func (d *decision) inheritTimeout(terms []application.Term) {
	if d.action != event.ActionPermit || d.timeout != 0 || len(terms) == 0 {
		return
	}
	d.timeout = terms[0].Timeout
	if slices.ContainsFunc(terms, func(t application.Term) bool { return t.Timeout != d.timeout }) {
		d.byTerm = true
	}
}
