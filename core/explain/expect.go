package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
)

// Differences returns how the answer differs from what a test expects, in words; none if it does not.
func (a *Answer) Differences(e *config.Expect) (list []string) {
	differ := func(what, want, got string) {
		if got == "" {
			got = "none"
		}
		list = append(list, fmt.Sprintf("%s: expected %s, got %s", what, want, got))
	}
	for _, c := range []struct{ what, want, got string }{
		{"verdict", e.Verdict, a.Verdict}, {"zone", e.Zone, a.Zone}, {"to_zone", e.ToZone, a.ToZone},
	} {
		if c.want != "" && c.want != c.got {
			differ(c.what, c.want, c.got)
		}
	}
	for _, c := range []struct {
		what, want string
		got        []string
	}{
		{"policy", e.Policy, a.decided("policy", "default")}, {"screen", e.Screen, a.decided("screen")},
	} {
		if c.want != "" && !slices.Contains(c.got, c.want) {
			differ(c.what, c.want, strings.Join(c.got, ", "))
		}
	}
	if e.Filter != "" || e.Term != "" {
		list = append(list, a.termDiffers(e)...)
	}
	if e.Log != nil {
		want, got := slices.Sorted(slices.Values(e.Log)), slices.Sorted(slices.Values(a.kinds()))
		if !slices.Equal(want, got) {
			differ("log", orNone(want), strings.Join(got, ", "))
		}
	}
	return list
}

// termDiffers compares the terms that have decided with the filter and the term that a test expects.
func (a *Answer) termDiffers(e *config.Expect) []string {
	want := strings.TrimSpace(e.Filter + " " + e.Term)
	var got []string
	for i := range a.Steps {
		s := &a.Steps[i]
		r := s.decided()
		if r == nil || r.Sort != "term" {
			continue
		}
		if (e.Filter == "" || e.Filter == s.Hook) && (e.Term == "" || e.Term == r.Name) {
			return nil
		}
		got = append(got, s.Hook+" "+r.Name)
	}
	return []string{fmt.Sprintf("term: expected %s, got %s", want, orNone(got))}
}

// decided returns the rule that has decided in a step, nil if none has.
func (s *Step) decided() *Rule {
	if len(s.Matched) == 0 {
		return nil
	}
	return &s.Matched[len(s.Matched)-1]
}

// decided returns the names of the rules of these sorts that have decided in a step.
func (a *Answer) decided(sorts ...string) (names []string) {
	for i := range a.Steps {
		if r := a.Steps[i].decided(); r != nil && slices.Contains(sorts, r.Sort) && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}

// kinds returns the kinds of the records, each once.
func (a *Answer) kinds() (kinds []string) {
	for _, r := range a.Log {
		if !slices.Contains(kinds, r.Kind) {
			kinds = append(kinds, r.Kind)
		}
	}
	return kinds
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// Report is what became of the tests of a configuration.
type Report struct {
	Passed int       `json:"passed"`
	Failed []Failure `json:"failed"`
	Unhit  []Unhit   `json:"unhit"` // rules on which no test has hit
}

// Failure is a test that failed.
type Failure struct {
	Name        string   `json:"name"`
	Place       *Place   `json:"place"`
	Differences []string `json:"differences"`
	Missing     []string `json:"missing,omitempty"` // what the test lacks, or no test can have
	Answer      *Answer  `json:"answer"`
}

// Unhit is a rule of a hook on which no test has hit.
type Unhit struct {
	Hook string `json:"hook"`
	Rule
}

// missing says why a test that has failed may have, though the daemon does what it expects: what the daemon knows and the test does not.
func (x *Explainer) missing(a *Answer, e *config.Expect) (list []string) {
	var zones, words []string
	if a.Zone == "" {
		zones, words = append(zones, "comes from"), append(words, `"from ZONE"`)
	}
	if a.ToZone == "" && a.Site != hook.Ingress.String() {
		zones, words = append(zones, "goes to"), append(words, `"to ZONE"`)
	}
	if len(zones) > 0 {
		list = append(list, fmt.Sprintf("the zone that the packet %s is not known here, where there are no routes: name it in the packet with %s, or give the zone prefixes",
			strings.Join(zones, " and that it "), strings.Join(words, " and ")))
	}
	if pass := verdictText(hook.Pass); len(x.RulesOf) > 0 && e.Verdict != "" && e.Verdict != pass && a.Verdict == pass {
		list = append(list, "what the firewall drops that "+strings.Join(x.RulesOf, ", ")+" listens to, no test shows: its rules are not in the configuration")
	}
	return list
}

// Tests runs tests.
func (x *Explainer) Tests(tests []config.Test) (*Report, error) {
	r := &Report{Failed: []Failure{}, Unhit: []Unhit{}}
	type rule struct{ hook, sort, name string }
	hit := make(map[rule]bool)
	for i := range tests {
		t := &tests[i]
		a, err := x.Text(&t.Packet)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		for _, s := range a.Steps {
			for _, m := range s.Matched {
				hit[rule{s.Hook, m.Sort, m.Name}] = true
			}
		}
		differences := a.Differences(&t.Expect)
		if len(differences) == 0 {
			r.Passed++
			continue
		}
		file, line, column := t.Section.Place()
		r.Failed = append(r.Failed, Failure{t.Name, &Place{File: file, Line: line, Column: column}, differences, x.missing(a, &t.Expect), a})
	}
	hooks, rules := x.Rules()
	for i, name := range hooks {
		for _, one := range rules[i] {
			if one.Sort != "screen" && !hit[rule{name, one.Sort, one.Name}] {
				r.Unhit = append(r.Unhit, Unhit{name, one})
			}
		}
	}
	return r, nil
}
