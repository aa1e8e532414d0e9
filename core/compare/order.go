package compare

import (
	"fmt"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/explain"
	"github.com/rtflow/pipelined/core/hook"
)

// maxOrders is how many reordered pairs a report names.
const maxOrders = 100

// Reordered is two rules of one hook whose order has changed, so that some packet is judged otherwise.
type Reordered struct {
	Hook   string       `json:"hook"`
	First  explain.Rule `json:"first"` // is asked before the other now, and was asked behind it
	Second explain.Rule `json:"second"`
}

func (o *Reordered) String() string {
	return fmt.Sprintf("%s (%s) stands before %s (%s) now, and packets may match both", o.First, o.First.Then, o.Second, o.Second.Then)
}

// Orders returns the pairs of rules that changes have put in another order, and that matters: some packet may match both, and they do different
// things with it. x explains the new configuration. At most a hundred are returned; more says how many there are beside them.
func Orders(x *explain.Explainer, changes []config.Change) (list []Reordered, more int) {
	for h := range x.Hooks {
		of := &x.Hooks[h]
		rules, overlap := rulesOf(of)
		if overlap == nil {
			continue
		}
		for i := range changes {
			c := &changes[i]
			moved, known := rules[c.Key]
			if c.What != "moved" || c.Table != "hooks."+of.Name || !known {
				continue
			}
			for _, other := range c.Crossed {
				crossed, known := rules[other.Key]
				if !known || moved.rule.Then == crossed.rule.Then || !overlap(c.Key, other.Key) {
					continue
				}
				if len(list) == maxOrders {
					more++
					continue
				}
				first, second := moved, crossed
				if first.number > second.number {
					first, second = second, first
				}
				list = append(list, Reordered{Hook: of.Name, First: of.Rule(first.rule), Second: of.Rule(second.rule)})
			}
		}
	}
	return list, more
}

// numbered is a rule, and its number in the order of the configuration.
type numbered struct {
	rule   hook.Rule
	number int
}

// rulesOf returns the rules of a hook by key, and what tells whether two overlap, nil if nothing does.
func rulesOf(h *explain.Hook) (map[string]numbered, func(a, b string) bool) {
	for _, at := range []any{h.Session, h.Ingress, h.Egress} {
		e, explains := at.(hook.Explainer)
		o, overlaps := at.(hook.Overlapper)
		if !explains || !overlaps {
			continue
		}
		rules := make(map[string]numbered)
		for i, r := range e.Rules() {
			rules[r.Key] = numbered{r, i}
		}
		return rules, o.Overlap
	}
	return nil, nil
}
