package pipeline

import (
	"fmt"
	"testing"

	"github.com/rtflow/pipelined/core/kept"
	"github.com/rtflow/pipelined/core/namebook"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestRenumberManyPolicies asks for every policy of an earlier run that had very many: a search among the former ones for each would
// not end within the time of a test. Several policies have the same name, and the earlier run had some that are gone.
func TestRenumberManyPolicies(t *testing.T) {
	const n = 300_000
	now := event.Names{Generation: 5, Policies: []string{""}}
	before := kept.Names{First: 1, Generations: []kept.Known{{}}, Policies: []string{""}}
	for i := range n {
		name := fmt.Sprintf("policy %d", i/3)
		before.Policies = append(before.Policies, name)
		if i%3 < 2 && i < n-3 {
			now.Policies = append(now.Policies, name)
		}
	}
	book := namebook.New(&now, nil, nil)
	ids := newRenumbering(&handedOver{State: &kept.State{Names: []kept.Names{before}}}, book)
	last := ids.Policy(n)
	if all := book.All(); int(last) >= len(all.Policies) || all.Policies[last] != before.Policies[n] {
		t.Errorf("a policy that is gone is %d, and has not kept its name", last)
	}
	for i := range n - 3 {
		got := ids.Policy(uint32(1 + i))
		if want := uint32(1 + i/3*2 + i%3); i%3 < 2 && got != want {
			t.Fatalf("policy %d is %d, want %d", i, got, want)
		}
	}
	for _, id := range []uint32{0, n + 1, 1 << 31} {
		if got := ids.Policy(id); got != 0 {
			t.Errorf("policy %d, which there was not, is %d", id, got)
		}
	}
}
