package format_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// numberedNames returns names of a generation that tell the generation and the id.
func numberedNames(generation uint32) *event.Names {
	n := &event.Names{Generation: generation, Zones: map[uint16]string{}, Interfaces: map[uint32]string{}}
	for i := range 40 {
		n.Zones[uint16(i)] = fmt.Sprintf("zone-%d-%d", generation, i)
		n.Interfaces[uint32(i)] = fmt.Sprintf("ge-%d-%d", generation, i)
		n.Policies = append(n.Policies, fmt.Sprintf("policy-%d-%d", generation, i))
		n.Applications = append(n.Applications, fmt.Sprintf("app-%d-%d", generation, i))
	}
	return n
}

// combinations returns records of so many combinations of ids.
func combinations(count int) (list []*event.Record) {
	var flows []*event.Record
	for _, s := range samples() {
		if k := s.r.Kind(); k == event.SessionOpen || k == event.SessionClose || k == event.PolicyDeny {
			flows = append(flows, s.r)
		}
	}
	for i := range count {
		r := *flows[i%len(flows)]
		r.SetZones(uint16(i%37), uint16(i/3%31))
		r.SetPolicy(uint32(i % 41))
		r.SetApplication(uint16(i / 7 % 43))
		r.SetInterface(uint32(i / 11 % 42))
		list = append(list, &r)
	}
	return list
}

// TestKeptPhrases compares an encoder that has seen many combinations of ids, in two generations of names, with one that has
// seen none.
func TestKeptPhrases(t *testing.T) {
	records := combinations(5000)
	generations := []*event.Names{numberedNames(1), numberedNames(2), nil}
	for _, o := range []format.Options{{}, {Profile: format.Junos25, Text: true, Sequence: true}} {
		used := newEncoder(t, o)
		for _, run := range []int{1000, 1} { // of records with the same names
			for i, r := range records {
				n := generations[i/run%len(generations)]
				if got, want := string(used.Append(nil, r, n)), string(newEncoder(t, o).Append(nil, r, n)); got != want {
					t.Fatalf("%+v, record %d:\n%s, want\n%s", o, i, got, want)
				}
			}
		}
	}
}

// TestKeptDenials has denials that differ in one thing only: one encoder prints each as one that has seen none does.
func TestKeptDenials(t *testing.T) {
	n := numberedNames(1)
	used := newEncoder(t, format.Options{})
	check := func(proto, icmpType uint8, action event.Action, iface uint32, app uint16) {
		t.Helper()
		var r event.Record
		r.Reset(event.PolicyDeny)
		r.SetFlow(event.FamilyIPv4, proto, &[16]byte{1}, &[16]byte{2}, 1, 2)
		r.SetDeny(1, 1, icmpType)
		r.SetAction(action)
		r.SetInterface(iface)
		r.SetApplication(app)
		if got, want := string(used.Append(nil, &r, n)), string(newEncoder(t, format.Options{}).Append(nil, &r, n)); got != want {
			t.Fatalf("%s, want\n%s", got, want)
		}
	}
	for v := range 256 {
		check(uint8(v), 0, 0, 0, 0)
		check(1, uint8(v), 0, 0, 0)
		check(58, uint8(v), 0, 0, 0)
		check(6, 0, event.Action(v), 0, 0)
		check(6, 0, 0, uint32(v%40), 0)
		check(6, 0, 0, 0, uint16(v%40))
	}
}

// TestPhrasesConcurrent lets goroutines with other names use one encoder.
func TestPhrasesConcurrent(t *testing.T) {
	records := combinations(500)
	e := newEncoder(t, format.Options{})
	var all sync.WaitGroup
	for g := range 3 {
		n := numberedNames(uint32(g))
		own := newEncoder(t, format.Options{})
		all.Go(func() {
			for i, r := range records {
				if got, want := string(e.Append(nil, r, n)), string(own.Append(nil, r, n)); got != want {
					t.Errorf("record %d: %s, want %s", i, got, want)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestManyPhrases counts allocations where there are more combinations than an encoder keeps.
func TestManyPhrases(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	records, n := combinations(5000), numberedNames(1)
	e := newEncoder(t, format.Options{})
	buf := make([]byte, 0, 8192)
	if got := testing.AllocsPerRun(2, func() {
		for _, r := range records {
			e.Append(buf, r, n)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
