package namebook

import (
	"fmt"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

// TestBook pins that a generation never changes, and that there is an end to learning.
func TestBook(t *testing.T) {
	warned := 0
	b := New(&event.Names{Generation: 1, Policies: []string{"", "first"}, Filters: []event.Filter{{}}}, nil, func() { warned++ })
	if g := b.Publish(); g != 1 {
		t.Errorf("generation %d without news", g)
	}
	id, same := b.Policy("drop"), b.Policy("drop")
	filter := b.Filter("drop")
	if n := b.Of(1); n.Policy(id) != "" || id != same || id != 2 {
		t.Errorf("before it is published, policy %d (%d) is %q", id, same, n.Policy(id))
	}
	g := b.Publish()
	n := b.Of(g)
	if name, term := n.Term(filter, 0); g != 2 || n.Policy(id) != "drop" || name != "drop" || term != "drop" || n.Policy(1) != "first" {
		t.Errorf("generation %d: %q, filter %q %q", g, n.Policies, name, term)
	}
	for i := range MaxLearned - 2 {
		b.Policy(fmt.Sprint(i))
	}
	if warned != 0 {
		t.Error("a book that is just full warns")
	}
	b.Policy(fmt.Sprint(MaxLearned))
	if b.Policy("one more") != 0 || b.Filter("one more") != 0 || b.Policy("drop") != id {
		t.Error("there is no end to learning")
	}
	if warned != 1 {
		t.Errorf("%d warnings, want one", warned)
	}
	if last := b.Of(b.Publish()); last.Generation != 3 || len(last.Policies) != 2+MaxLearned-1 || len(n.Policies) != 3 || len(b.Of(1).Policies) != 2 {
		t.Errorf("generation %d has %d policies, an earlier one %d", last.Generation, len(last.Policies), len(n.Policies))
	}
	if b.Of(99).Generation != 1 {
		t.Error("a generation that is not there")
	}
}
