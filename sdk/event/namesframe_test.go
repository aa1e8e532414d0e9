package event_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/sdk/event"
)

func someNames(generation uint32) *event.Names {
	n := &event.Names{
		Generation: generation, Zones: map[uint16]string{1: "trust", 65535: "untrust"}, Policies: []string{"", "out", strings.Repeat("p", 255)},
		Filters:    []event.Filter{{}, {Name: "in", Terms: []string{"a", "", "c"}}, {Name: "empty"}, {Name: "last", Terms: []string{"z"}}},
		Interfaces: map[uint32]string{1: "lan0", 4294967295: "wan0"},
	}
	for i := range 400 {
		n.Applications = append(n.Applications, fmt.Sprintf("application-%d", i))
	}
	return n
}

func readAll(t *testing.T, b []byte) (records []event.Record, names []*event.Names, from []event.Origin, skipped int) {
	t.Helper()
	r := event.NewReader(bytes.NewReader(b))
	for {
		var rec event.Record
		if err := r.Next(&rec); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return records, names, from, r.Skipped()
		}
		n, o := r.Names()
		records, names, from = append(records, rec), append(names, n), append(from, o)
	}
}

// TestNamesFrames checks that names come back as they were, for the records behind them, and that no frame is larger than one may be.
func TestNamesFrames(t *testing.T) {
	var rec event.Record
	rec.Reset(event.Loss)
	first, second := event.Origin{Host: "edge-1", Epoch: 1 << 60}, event.Origin{}
	b := bytes.Clone(rec.Frame()) // of an earlier version: without names
	b = append(event.AppendNames(b, someNames(1), first), rec.Frame()...)
	b = append(event.AppendNames(b, nil, second), rec.Frame()...)
	b = append(event.AppendNames(b, someNames(7), first), rec.Frame()...)
	records, names, from, skipped := readAll(t, b)
	empty := &event.Names{Zones: map[uint16]string{}, Interfaces: map[uint32]string{}}
	if diff := cmp.Diff([]*event.Names{nil, someNames(1), empty, someNames(7)}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]event.Origin{{}, first, second, first}, from); diff != "" || skipped != 0 {
		t.Errorf("%d skipped; origins (-want +got):\n%s", skipped, diff)
	}
	if g := []uint32{records[0].Generation, records[1].Generation, records[3].Generation}; g[0] != 0 || g[1] != 1 || g[2] != 7 {
		t.Errorf("generations %d", g)
	}
	if !event.LooksLikeFrames(event.AppendNames(nil, nil, second)) {
		t.Error("a file that begins with names does not look like frames")
	}
}

// namesFrame returns a names frame with that payload behind its head.
func namesFrame(table byte, entries ...byte) []byte {
	b := append([]byte{byte(8 + len(entries)), 0, 0, 0, byte(event.FrameNames), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1, 0, 0, 0, table, 0, 0, 0)
	return append(b, entries...)
}

// TestHostileNames checks that names which cannot be are skipped, cost no memory beyond their own bytes, and change nothing else.
func TestHostileNames(t *testing.T) {
	var rec event.Record
	rec.Reset(event.Loss)
	begin := event.AppendNames(nil, &event.Names{Generation: 1}, event.Origin{Host: "h"})
	for name, bad := range map[string][]byte{
		"a policy far behind the others": namesFrame(2, 255, 255, 255, 255, 1, 'x'),
		"a filter far behind the others": namesFrame(3, 255, 255, 255, 255, 0),
		"a term of no filter":            namesFrame(4, 3, 0, 0, 0, 0),
		"an application out of order":    namesFrame(6, 1, 0, 0, 0, 0),
		"a zone above 65535":             namesFrame(1, 0, 0, 1, 0, 0),
		"a kind that there is not":       namesFrame(7),
		"a name that is cut off":         namesFrame(1, 1, 0, 0, 0, 9, 'x'),
		"an entry that is cut off":       namesFrame(1, 1, 0),
		"a beginning that is cut off":    namesFrame(0, 1, 0, 0, 0, 0, 0, 0, 0, 9),
		"no head":                        append([]byte{1, 0, 0, 0, byte(event.FrameNames)}, make([]byte, 12)...),
	} {
		b := append(append(bytes.Clone(begin), bad...), rec.Frame()...)
		records, names, from, skipped := readAll(t, b)
		if len(records) != 1 || skipped != 1 || names[0] == nil || len(names[0].Policies)+len(names[0].Filters)+len(names[0].Zones) != 0 || from[0].Host != "h" {
			t.Errorf("%s: %d records, %d skipped, %+v of %+v", name, len(records), skipped, names, from)
		}
	}
	b := bytes.Clone(begin)
	entry := namesFrame(1, append([]byte{1, 0, 0, 0, 240}, make([]byte, 240)...)...)
	for range 5 << 20 / 245 {
		b = append(b, entry...)
	}
	if _, _, _, skipped := readAll(t, append(b, rec.Frame()...)); skipped == 0 {
		t.Error("names without end are all kept")
	}
	// Without a beginning nobody knows whose they are.
	if _, names, _, skipped := readAll(t, append(namesFrame(1, 1, 0, 0, 0, 0), rec.Frame()...)); skipped != 1 || names[0] != nil {
		t.Errorf("%d skipped, %v", skipped, names)
	}
}

// FuzzReader checks that no file makes the reader panic or run on for ever, and that names it has read are written and read again
// as the same.
func FuzzReader(f *testing.F) {
	var rec event.Record
	rec.Reset(event.Loss)
	f.Add(append(event.AppendNames(nil, someNames(3), event.Origin{Host: "edge-1", Epoch: 7}), rec.Frame()...))
	f.Add(append(namesFrame(2, 0, 0, 0, 0, 0), rec.Frame()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := event.NewReader(bytes.NewReader(b))
		for records := 0; r.Next(&rec) == nil; records++ {
			if records > len(b) {
				t.Fatal("more records than bytes")
			}
		}
		n, from := r.Names()
		if n == nil {
			return
		}
		rec.Reset(event.Loss)
		_, again, origin, _ := readAll(t, append(event.AppendNames(nil, n, from), rec.Frame()...))
		if diff := cmp.Diff(n, again[0]); diff != "" || origin[0] != from {
			t.Errorf("%+v, %+v (-want +got):\n%s", from, origin[0], diff)
		}
	})
}
