package config

import (
	"reflect"
	"slices"

	"github.com/rtflow/pipelined/core/packettext"
	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/sdk/event"
)

// testTable is the name of the tables of tests.
const testTable = "test"

// Test is one [[test]]: a packet, and what is expected to become of it.
type Test struct {
	Section *Section
	Name    string            // default: the text of the packet
	Packet  packettext.Packet // the zero Packet if its text cannot be read
	Expect  Expect
}

// Expect is what a test expects. What is left out is not compared.
type Expect struct {
	Verdict string `toml:"verdict"`
	Policy  string `toml:"policy"` // which decides, the default by its name in records
	Filter  string `toml:"filter"` // the hook of which a term decides
	Term    string `toml:"term"`   // which decides
	Screen  string `toml:"screen"` // which fires
	Zone    string `toml:"zone"`   // that the packet comes from
	ToZone  string `toml:"to_zone"`
	// Log are the kinds of the records that the packet, and the end of its session, make: nil if it is not compared, empty for
	// none.
	Log []string `toml:"log"`
}

// Verdicts returns the verdicts that a test may expect.
func Verdicts() []string { return []string{"pass", "drop", "reject", "refuse"} }

// readTests reads the tables of tests.
func readTests(tables []*Section) (list []Test) {
	for _, s := range tables {
		var o struct {
			Name   string             `toml:"name"`
			Packet *packettext.Packet `toml:"packet"`
			Expect Expect             `toml:"expect"`
		}
		s.Decode(&o)
		t := Test{Section: s, Name: o.Name, Expect: o.Expect}
		if o.Packet != nil {
			t.Packet = *o.Packet
		} else if !s.Has("packet") {
			s.Errorf("packet", `missing: a packet, such as "tcp 10.0.1.5:40000 > 192.0.2.80:443 in lan0"`)
		}
		if t.Name == "" {
			t.Name = t.Packet.Text
		}
		if reflect.ValueOf(t.Expect).IsZero() {
			s.Errorf("expect", "missing: what is to become of the packet, such as { verdict = \"drop\" }")
		}
		t.check()
		list = append(list, t)
	}
	return list
}

// check holds the words that mean the same in every configuration against those that there are.
func (t *Test) check() {
	s := t.Section
	one := func(key, what, name string, valid []string) {
		for _, v := range valid {
			if name == "" || name == v {
				return
			}
		}
		s.Errorf(key, "%s", spelling.Unknown(what, name, valid))
	}
	one("expect.verdict", "verdict", t.Expect.Verdict, Verdicts())
	one("expect.screen", "screen", t.Expect.Screen, screenNames())
	for i, name := range t.Expect.Log {
		one(keypath.Element("expect.log", i), "kind of event", name, packetKinds())
		if slices.Contains(t.Expect.Log[:i], name) {
			s.Errorf(keypath.Element("expect.log", i), "%q is listed twice", name)
		}
	}
}

func screenNames() []string {
	var names []string
	for screen := range event.Screen(event.NumScreens) {
		if screen != event.ScreenExtended {
			names = append(names, screen.String())
		}
	}
	return names
}

// elements returns the tables of an array at a key of this table; what is no array of tables is recorded as a mistake.
func (s *Section) elements(key string) (list []*Section) {
	raw := s.values[key]
	if !table.IsArray(raw) {
		s.doc.report(s.at.key(key), Error, "must be an array of tables, [["+key+"]], not "+table.Describe(raw))
		return nil
	}
	items := reflect.ValueOf(raw)
	for i := range items.Len() {
		at := s.at.key(key).index(i)
		values, ok := reflect.TypeAssert[map[string]any](items.Index(i))
		if !ok {
			s.doc.report(at, Error, "must be a table, not "+table.Describe(items.Index(i).Interface()))
			continue
		}
		list = append(list, &Section{doc: s.doc, name: key, at: at, values: values})
	}
	return list
}

// PlaceOf returns where a key of the table stands, as Errorf names it: file, line and column from 1.
func (s *Section) PlaceOf(key string) (file string, line, column int) {
	line, column = s.doc.lineAt(s.at.follow(key).offset)
	return s.doc.file, line, column
}

// packetKinds returns the kinds of events that a packet can make.
func packetKinds() []string {
	return slices.DeleteFunc(kindNames(), func(name string) bool { return name == event.Loss.String() })
}
