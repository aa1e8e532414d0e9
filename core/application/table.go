package application

import (
	"maps"
	"slices"
)

// Table resolves applications. It is immutable and safe for concurrent use.
type Table struct {
	services *services
	names    []string // by id
	timeouts []uint32 // by id
	terms    map[string][]Term
}

// Predefined returns the table of the predefined applications.
func Predefined() *Table {
	n := firstPredefined + len(predefinedApps)
	t := &Table{
		services: newServices(),
		names:    make([]string, n),
		timeouts: make([]uint32, n),
		terms:    make(map[string][]Term, len(predefinedApps)+len(predefinedSets)),
	}
	t.names[ICMP], t.names[ICMPv6] = "icmp", "icmpv6"
	for i := range predefinedApps {
		app := &predefinedApps[i]
		t.names[firstPredefined+i] = app.name
		t.timeouts[firstPredefined+i] = app.terms[0].Timeout
		t.terms[app.name] = slices.Clone(app.terms)
	}
	for _, set := range predefinedSets {
		for _, m := range set.members {
			t.terms[set.name] = append(t.terms[set.name], t.terms[m]...)
		}
	}
	return t
}

// Service returns the id of the predefined application that owns the destination port of the protocol, whatever a policy
// matched; [None] if there is none. A protocol without ports has one id for all its packets, and the port is not looked
// at. ICMP and ICMPv6 are [ICMP] and [ICMPv6]: that is what a log line calls an echo, and the caller knows whether the
// packet is one.
func (t *Table) Service(proto uint8, dstPort uint16) uint16 { return t.services.lookup(proto, dstPort) }

// Names returns the name of each id that [Table.Service] returns, "" for [None]. The caller must not change it.
func (t *Table) Names() []string { return t.names }

// Timeout returns the inactivity timeout in seconds of sessions of a predefined application, 0 for "by protocol" and for
// an id that is not there.
func (t *Table) Timeout(id uint16) uint32 {
	if int(id) < len(t.timeouts) {
		return t.timeouts[id]
	}
	return 0
}

// Resolve returns the terms of the application or application set of that name, in order; false if there is none. The
// caller must not change them.
func (t *Table) Resolve(name string) ([]Term, bool) {
	terms, ok := t.terms[name]
	return terms, ok
}

// Known returns the names of all applications and application sets that [Table.Resolve] knows, sorted.
func (t *Table) Known() []string { return slices.Sorted(maps.Keys(t.terms)) }
