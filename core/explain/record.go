package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/packettext"
)

// Line explains the packet that a line of a log tells of, between the zones that the line names. The answer says whether the rule of the
// record is one of the configuration.
func (x *Explainer) Line(r *packettext.Record) (*Answer, error) {
	from, to, told := x.placed(r.From, r.To)
	a, err := x.Text(r.Packet.Between(from, to))
	if err != nil {
		return nil, err
	}
	if r.Rule != "" && !x.has(r) {
		told = slices.Insert(told, 0, x.elsewhere(r))
		if len(x.RulesOf) > 0 {
			a.DecidedBy = ruleOf(r)
		}
	}
	a.OfRecord = told
	return a, nil
}

// placed returns those of the zones of a record that the configuration has, and what is to be said of them.
func (x *Explainer) placed(from, to string) (hasFrom, hasTo string, told []string) {
	var taken []string
	zone := func(way, name string) string {
		if name == "" {
			return ""
		}
		if _, ok := x.Zones.Lookup(name); !ok {
			told = append(told, fmt.Sprintf("the packet went %s zone %q, which the configuration does not have: its zone is looked up", way, name))
			return ""
		}
		taken = append(taken, way+" "+name)
		return name
	}
	hasFrom, hasTo = zone("from", from), zone("to", to)
	if len(taken) > 0 {
		told = append(told, strings.Join(taken, " ")+": the zones are the record's, and not looked up")
	}
	return hasFrom, hasTo, told
}

// elsewhere says who has decided by a rule that the configuration does not have.
func (x *Explainer) elsewhere(r *packettext.Record) string {
	text := fmt.Sprintf("the record is of rule %q, which the configuration does not have", ruleOf(r))
	if len(x.RulesOf) == 0 {
		return text
	}
	return text + ": the firewall that " + strings.Join(x.RulesOf, ", ") + " listens to has decided, and no hook"
}

// ruleOf returns the name of the rule of a record, with that of its term.
func ruleOf(r *packettext.Record) string {
	if r.Term != "" {
		return r.Rule + "/" + r.Term
	}
	return r.Rule
}

// has reports whether the rule of a record is one of the hooks'.
func (x *Explainer) has(r *packettext.Record) bool {
	same := func(name, inRecord string) bool {
		return strings.ReplaceAll(name, " ", "_") == strings.ReplaceAll(inRecord, " ", "_")
	}
	hooks, rules := x.Rules()
	for i, hook := range hooks {
		for _, rule := range rules[i] {
			switch rule.Sort {
			case "term":
				if r.Filter && same(hook, r.Rule) && same(rule.Name, r.Term) {
					return true
				}
			case "policy", "default":
				if !r.Filter && (same(rule.Name, r.Rule) || same(rule.Name+"(global)", r.Rule)) {
					return true
				}
			}
		}
	}
	return false
}
