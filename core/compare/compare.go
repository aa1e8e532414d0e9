package compare

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Report is how the flows of two recorders differ. Its JSON is part of what `pipelined diff --json` prints.
type Report struct {
	Flows   int     `json:"flows"`   // that either of them has met
	Changed int     `json:"changed"` // of them are judged, logged or placed in zones otherwise
	Groups  []Group `json:"groups"`  // that differ alike, those of most flows first
}

// Group is flows that differ in the same way, for the same rules.
type Group struct {
	Verdict *Difference `json:"verdict,omitempty"`
	Zones   *Difference `json:"zones,omitempty"`
	Rules   *Lists      `json:"rules,omitempty"` // that decided
	Log     *Lists      `json:"log,omitempty"`   // records that were made

	Flows    int      `json:"flows"`
	Packets  uint64   `json:"packets"`
	Examples []string `json:"examples"` // at most [maxExamples] flows
}

// Difference is something that was and something that is.
type Difference struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// Lists are what there is in one of the configurations alone.
type Lists struct {
	Old []string `json:"old"`
	New []string `json:"new"`
}

const maxExamples = 3

// Compare returns how what two recorders have noted differs. Their pipelines have ended.
func Compare(old, now *Recorder) *Report {
	keys := make(map[flowKey]bool, len(old.flows))
	for _, r := range []*Recorder{old, now} {
		for key := range r.flows {
			keys[key] = true
		}
		for key := range r.logs {
			keys[key] = true
		}
	}
	report := &Report{Flows: len(keys), Groups: []Group{}}
	groups := make(map[string]*Group)
	for _, key := range slices.SortedFunc(maps.Keys(keys), flowKey.compare) {
		a, b := old.outcome(key), now.outcome(key)
		g := differ(&a, &b)
		if g == nil {
			continue
		}
		report.Changed++
		name := g.name()
		if groups[name] == nil {
			groups[name] = g
		} else {
			g = groups[name]
		}
		g.Flows++
		g.Packets += uint64(max(a.seen, b.seen))
		if len(g.Examples) < maxExamples {
			g.Examples = append(g.Examples, cmp.Or(a.text, b.text))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		report.Groups = append(report.Groups, *groups[name])
	}
	slices.SortStableFunc(report.Groups, func(a, b Group) int { return cmp.Compare(b.Flows, a.Flows) })
	return report
}

func (k flowKey) compare(o flowKey) int {
	return cmp.Or(cmp.Compare(k.proto, o.proto), k.low.Compare(o.low), k.high.Compare(o.high), k.alone.compare(&o.alone))
}

func (k *aloneKey) compare(o *aloneKey) int {
	return cmp.Or(cmp.Compare(k.in, o.in), cmp.Compare(k.out, o.out), cmp.Compare(k.icmpType, o.icmpType), cmp.Compare(k.icmpCode, o.icmpCode))
}

// outcome is what became of a flow, in words.
type outcome struct {
	text         string
	seen, passed uint32
	zones        string
	rules        []fact
	log          []fact
}

// fact is a rule that has decided or a record that was made: what it is called in both configurations, and what is said of it.
type fact struct{ name, text string }

func (r *Recorder) outcome(key flowKey) (o outcome) {
	for _, n := range r.logs[key] {
		o.log = append(o.log, fact{r.records.list[n], r.records.list[n]})
	}
	slices.SortFunc(o.log, fact.compare)
	f := r.flows[key]
	if f == nil {
		return o
	}
	o.text, o.seen, o.passed = f.text(key), f.seen, f.passed
	o.zones = cmp.Or(f.in, "unknown") + " > " + cmp.Or(f.out, "unknown")
	for _, n := range f.decided {
		x := &r.rules.list[n]
		at := ""
		if x.place.File != "" {
			at = " at " + x.place.String()
		}
		o.rules = append(o.rules, fact{x.hook + " " + x.sort + " " + x.name + ": " + x.then, x.sort + " " + x.name + at + ": " + x.then})
	}
	return o
}

// verdict says how many of the packets are let through.
func (o *outcome) verdict() string {
	switch o.passed {
	case 0:
		return "drop"
	case o.seen:
		return passes
	}
	return "pass in part"
}

// share says the same in numbers.
func (o *outcome) share() string {
	return fmt.Sprintf("%d of %s pass", o.passed, many(uint64(o.seen), "packet"))
}

// differ returns how two outcomes differ, nil if they do not.
func differ(a, b *outcome) *Group {
	g := &Group{Examples: []string{}}
	changed := a.seen != b.seen || a.passed != b.passed
	if changed {
		g.Verdict = &Difference{a.verdict(), b.verdict()}
		if g.Verdict.Old == g.Verdict.New {
			g.Verdict = &Difference{a.share(), b.share()}
		}
	}
	if a.zones != b.zones {
		g.Zones = &Difference{a.zones, b.zones}
		changed = true
	}
	if !slices.Equal(a.log, b.log) {
		g.Log = &Lists{without(a.log, b.log), without(b.log, a.log)}
		changed = true
	}
	if !changed {
		return nil
	}
	if old, now := without(a.rules, b.rules), without(b.rules, a.rules); len(old)+len(now) > 0 {
		g.Rules = &Lists{old, now}
	}
	return g
}

// without returns what is said of the facts in a that are not in b, sorted.
func without(a, b []fact) []string {
	list := []string{}
	for _, v := range a {
		if !slices.ContainsFunc(b, func(o fact) bool { return o.name == v.name }) {
			list = append(list, v.text)
		}
	}
	slices.Sort(list)
	return list
}

func (f fact) compare(o fact) int { return cmp.Compare(f.name, o.name) }

// name returns a text that is the same for groups that differ alike.
func (g *Group) name() string {
	var b strings.Builder
	g.write(&b, "", "")
	return b.String()
}

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "flows: %d, of which %d change\n", r.Flows, r.Changed)
	for i := range r.Groups {
		g := &r.Groups[i]
		fmt.Fprintf(&b, "\n%s, %s\n", many(uint64(g.Flows), "flow"), many(g.Packets, "packet"))
		g.write(&b, "  - ", "  + ")
		for _, e := range g.Examples {
			fmt.Fprintf(&b, "  such as  %s\n", e)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func many(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// write writes what was behind the one mark and what is behind the other.
func (g *Group) write(b *strings.Builder, was, is string) {
	two := func(what string, d *Difference) {
		if d != nil {
			fmt.Fprintf(b, "%s%-8s %s\n%s%-8s %s\n", was, what, d.Old, is, what, d.New)
		}
	}
	two("verdict", g.Verdict)
	two("zones", g.Zones)
	lists := func(what string, l *Lists) {
		if l == nil {
			return
		}
		for _, text := range l.Old {
			fmt.Fprintf(b, "%s%-8s %s\n", was, what, text)
		}
		for _, text := range l.New {
			fmt.Fprintf(b, "%s%-8s %s\n", is, what, text)
		}
	}
	lists("rule", g.Rules)
	lists("log", g.Log)
}
