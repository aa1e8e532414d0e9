package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/spelling"
)

// tables are the tables of all files of a configuration.
type tables struct {
	files      []string
	single     map[string]*Section   // [node], [service] …: in one file only
	named      map[string][]*Section // [sinks.NAME] …: a name in one file only; in the order of the files
	first      map[string]*Section   // the same by path
	tests      []*Section            // [[test]], of all files
	parsed     bool                  // every file could be parsed
	misspelled map[string]bool       // tables whose name is similar to that of an unknown table
	limit      sizeLimit             // of files that are read
	size       int64                 // of those that were read, in bytes
}

func newTables() *tables {
	return &tables{
		single: make(map[string]*Section), named: make(map[string][]*Section), first: make(map[string]*Section), parsed: true,
		misspelled: make(map[string]bool),
	}
}

func singleTables() []string {
	return []string{"node", "service", "pipeline", "admission", "replay", "sessions"}
}

// namedTables are the tables that hold one table per name.
func namedTables() []string { return []string{"zones", "sources", "hooks", "sinks"} }

// add parses a text and takes its tables.
func (t *tables) add(file, text string, problems *Problems) {
	root := parse(file, text, problems)
	t.files = append(t.files, file)
	if !root.parsed() {
		t.parsed = false
		return
	}
	for _, key := range root.Keys() {
		switch {
		case slices.Contains(singleTables(), key):
			t.addSingle(root.table(key))
		case slices.Contains(namedTables(), key):
			t.addNamed(root.table(key))
		case key == testTable:
			t.tests = append(t.tests, root.elements(key)...)
		default:
			t.unknownTable(root, key)
		}
	}
}

// all returns the tables but those of tests, by path.
func (t *tables) all() []*Section {
	list := slices.AppendSeq(slices.Collect(maps.Values(t.single)), maps.Values(t.first))
	slices.SortFunc(list, func(a, b *Section) int { return strings.Compare(a.Path(), b.Path()) })
	return list
}

// section returns the table of that name; one that no file has is empty.
func (t *tables) section(name string) *Section {
	if s := t.single[name]; s != nil {
		return s
	}
	return &Section{name: name, doc: &document{problems: new(Problems)}}
}

func (t *tables) unknownTable(root *Section, key string) {
	valid := append(append(singleTables(), namedTables()...), testTable)
	what := "key"
	if root.Sub(key) != nil {
		what = "table"
		if near, ok := spelling.Nearest(key, valid); ok {
			t.misspelled[near] = true
		}
	}
	root.doc.report(root.at.key(key), Error, "unknown "+what+"; "+root.doc.hint(key, "tables", valid))
}

func (t *tables) addSingle(s *Section) {
	if s == nil {
		return // no table, already recorded
	}
	if first := t.single[s.name]; first != nil {
		twice(s, first)
		return
	}
	t.single[s.name] = s
}

func (t *tables) addNamed(parent *Section) {
	if parent == nil {
		return // no table, already recorded
	}
	for _, key := range parent.Keys() {
		s := parent.table(key)
		if s == nil {
			continue // no table, already recorded
		}
		if first := t.first[s.Path()]; first != nil {
			twice(s, first)
			continue
		}
		t.first[s.Path()] = s
		t.named[parent.name] = append(t.named[parent.name], s)
	}
}

// twice records that two files define the same table.
func twice(s, first *Section) {
	file, line, column := first.Place()
	s.Errorf("", "this table is already defined at %s:%d:%d", file, line, column)
}
