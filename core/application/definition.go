package application

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/keypath"
)

// Definition is a user's application or application set as a configuration writes it. It is one of three: a single term
// (protocol and what goes with it), several terms, or the members of a set.
type Definition struct {
	TermDefinition
	Terms   []TermDefinition `toml:"term"`
	Members []string         `toml:"members"` // names of applications and sets
}

// TermDefinition is one alternative of a user's application.
type TermDefinition struct {
	Protocol          Protocol `toml:"protocol"`
	SourcePort        Ports    `toml:"source-port"`
	DestinationPort   Ports    `toml:"destination-port"`
	ICMPType          *uint8   `toml:"icmp-type"`
	ICMPCode          *uint8   `toml:"icmp-code"`
	InactivityTimeout Timeout  `toml:"inactivity-timeout"`
}

// Problem is a mistake in a definition.
type Problem struct {
	Name string // of the definition
	Key  string // within the definition: "protocol", "term[1].icmp-code", "members[0]"; "" for the definition itself
	Text string // what is wrong
	// Unknown is the word that nothing is called by, if that is the mistake, and Valid are the words that something is.
	Unknown string
	Valid   []string
}

// reservedPrefix begins the names of predefined applications.
const reservedPrefix = "junos-"

// With returns a table that knows the user's applications besides those of t, which stays as it is, and what is wrong
// with them, ordered by name. A definition with a mistake is known and matches nothing, so that one mistake does not show
// up as many; the table must not be used if there is one.
func (t *Table) With(custom map[string]Definition) (*Table, []Problem) {
	if len(custom) == 0 {
		return t, nil
	}
	b := &builder{
		custom: custom,
		terms:  maps.Clone(t.terms),
		known:  slices.Concat(t.Known(), slices.Sorted(maps.Keys(custom))),
	}
	slices.Sort(b.known)
	for _, name := range slices.Sorted(maps.Keys(custom)) {
		b.checkName(name)
		b.define(name)
	}
	slices.SortStableFunc(b.problems, func(x, y Problem) int { return strings.Compare(x.Name, y.Name) })
	return &Table{services: t.services, names: t.names, timeouts: t.timeouts, terms: b.terms}, b.problems
}

// builder resolves definitions, each once, sets after their members.
type builder struct {
	custom   map[string]Definition
	terms    map[string][]Term // of what is resolved
	known    []string
	path     []string // the sets being resolved, outermost first
	problems []Problem
}

func (b *builder) problem(name, key, format string, args ...any) {
	b.problems = append(b.problems, Problem{Name: name, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (b *builder) checkName(name string) {
	switch {
	case name == "":
		b.problem(name, "", "an application needs a name")
	case name == "any":
		b.problem(name, "", "\"any\" means every application and cannot name one")
	case strings.HasPrefix(name, reservedPrefix):
		b.problem(name, "", "names that begin with %q belong to the predefined applications", reservedPrefix)
	}
}

// define resolves the definition of that name, if it is not resolved yet.
func (b *builder) define(name string) {
	if _, done := b.terms[name]; done {
		return
	}
	def := b.custom[name]
	single := !def.TermDefinition.empty()
	switch {
	case def.Members != nil && (single || def.Terms != nil), single && def.Terms != nil:
		b.problem(name, "", "an application is a protocol, a list of terms or a set of members, only one of them")
		b.terms[name] = nil
	case def.Members != nil:
		b.path = append(b.path, name)
		b.terms[name] = b.members(name, def.Members)
		b.path = b.path[:len(b.path)-1]
	case def.Terms != nil:
		var all []Term
		for i := range def.Terms {
			all = append(all, b.term(name, keypath.Element("term", i)+".", &def.Terms[i])...)
		}
		if len(def.Terms) == 0 {
			b.problem(name, "term", "an application without terms matches nothing")
		}
		b.terms[name] = all
	default:
		b.terms[name] = b.term(name, "", &def.TermDefinition)
	}
}

// members returns the terms of a set, each once: sets that share members would otherwise grow with every level.
func (b *builder) members(name string, members []string) []Term {
	if len(members) == 0 {
		b.problem(name, "members", "an empty set matches nothing")
	}
	var all []Term
	seen := make(map[Term]bool)
	for i, m := range members {
		key := keypath.Element("members", i)
		if at := slices.Index(b.path, m); at >= 0 {
			cycle := append(slices.Clone(b.path[at:]), m)
			b.problem(name, key, "the set contains itself: %s", strings.Join(cycle, " > "))
			continue
		}
		if _, ok := b.custom[m]; ok {
			b.define(m)
		}
		terms, ok := b.terms[m]
		if !ok {
			b.problems = append(b.problems, Problem{
				Name: name, Key: key, Text: fmt.Sprintf("no application or set is called %q", m), Unknown: m, Valid: b.known,
			})
			continue
		}
		for _, t := range terms {
			if !seen[t] {
				seen[t] = true
				all = append(all, t)
			}
		}
	}
	return all
}

// term checks one term, whose keys begin with prefix, and returns what it stands for: one term for each pair of ranges.
func (b *builder) term(name, prefix string, d *TermDefinition) []Term {
	if d.Protocol.Text == "" {
		b.problem(name, prefix+"protocol", "an application needs a protocol")
		return nil
	}
	proto, ok := ParseProtocol(d.Protocol.Text)
	if !ok {
		b.problems = append(b.problems, Problem{
			Name: name, Key: prefix + "protocol", Unknown: d.Protocol.Text, Valid: ProtocolNames(),
			Text: fmt.Sprintf("%q is no protocol; want a name or a number within 0 to 255", d.Protocol.Text),
		})
		return nil
	}
	good := true
	reject := func(key, format string, args ...any) {
		b.problem(name, prefix+key, format, args...)
		good = false
	}
	if !hasPorts(proto) {
		if d.SourcePort != nil {
			reject("source-port", "%s has no ports", ProtocolText(proto))
		}
		if d.DestinationPort != nil {
			reject("destination-port", "%s has no ports", ProtocolText(proto))
		}
	}
	if !packet.IsICMP(proto) {
		if d.ICMPType != nil {
			reject("icmp-type", "%s has no ICMP type", ProtocolText(proto))
		}
		if d.ICMPCode != nil {
			reject("icmp-code", "%s has no ICMP code", ProtocolText(proto))
		}
	} else if d.ICMPCode != nil && d.ICMPType == nil {
		reject("icmp-code", "an ICMP code means nothing without icmp-type")
	}
	if !good {
		return nil
	}
	var all []Term
	for _, src := range d.SourcePort.orAny() {
		for _, dst := range d.DestinationPort.orAny() {
			all = append(all, Term{
				Proto: proto, Src: src, Dst: dst, ICMPType: orAnyICMP(d.ICMPType), ICMPCode: orAnyICMP(d.ICMPCode),
				Timeout: uint32(d.InactivityTimeout),
			})
		}
	}
	return all
}

func (d *TermDefinition) empty() bool {
	return d.Protocol.Text == "" && d.SourcePort == nil && d.DestinationPort == nil && d.ICMPType == nil &&
		d.ICMPCode == nil && d.InactivityTimeout == 0
}

func orAnyICMP(v *uint8) int16 {
	if v == nil {
		return AnyICMP
	}
	return int16(*v)
}
