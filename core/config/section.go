package config

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
)

var _ table.Section = (*Section)(nil)

// Section is one table of the configuration. A component's Section is what its plugin gets as its configuration.
type Section struct {
	doc    *document
	name   string
	at     cursor
	values map[string]any // of TOML, references resolved; not to be changed
	core   []string       // keys that belong to the core and are not unknown to a plugin
}

// ParseTable parses a TOML text and returns the table at that path, the whole document without one. It is for tests and
// for tools: [Load] reads a configuration. The Section is never nil; of a text that cannot be read, and of a table that
// does not exist, it is empty and the reason is among the problems. What is decoded from the Section later adds its
// problems to the same list.
//
// A table of a component, ("sinks", "audit"), leaves the core's keys of such a table to the core, as [Load] does.
func ParseTable(file string, data []byte, path ...string) (*Section, *Problems) {
	problems := new(Problems)
	s := parse(file, string(data), problems)
	if !s.parsed() {
		return s, problems
	}
	for _, key := range path {
		sub := s.Sub(key)
		switch {
		case sub != nil:
			s = sub
			continue
		case s.Has(key):
			s.table(key) // records that it is no table
		default:
			s.doc.report(s.at.key(key), Error, "no such table; "+spelling.Hint(key, "keys", s.Keys()))
		}
		return &Section{doc: s.doc, name: key, at: s.at.key(key)}, problems
	}
	if len(path) == 2 {
		s.core = coreKeys(path[0])
	}
	return s, problems
}

// parsed reports whether the document could be parsed. Of a section that is a whole document.
func (s *Section) parsed() bool { return s.at.node != nil }

// Name returns the last part of the table's name: "audit" for [sinks.audit], "" for the whole document.
func (s *Section) Name() string { return s.name }

// Path returns the table's full name: "sinks.audit".
func (s *Section) Path() string { return s.at.path }

// Equal reports whether the tables say the same, wherever they stand. Two nil sections are equal.
func (s *Section) Equal(other *Section) bool {
	if s == nil || other == nil {
		return s == other
	}
	return reflect.DeepEqual(s.values, other.values)
}

// EqualBut reports whether the tables say the same, wherever they stand, but for those keys. Two nil sections are equal.
func (s *Section) EqualBut(other *Section, keys ...string) bool {
	if s == nil || other == nil {
		return s == other
	}
	without := func(values map[string]any) map[string]any {
		values = maps.Clone(values)
		for _, key := range keys {
			delete(values, key)
		}
		return values
	}
	return reflect.DeepEqual(without(s.values), without(other.values))
}

// Place returns where the table begins: file, line and column from 1.
func (s *Section) Place() (file string, line, column int) {
	line, column = s.doc.lineAt(s.at.offset)
	return s.doc.file, line, column
}

// Keys returns the table's keys in the order of the file.
func (s *Section) Keys() []string {
	return s.at.node.order(s.values)
}

// Has reports whether the table has the key.
func (s *Section) Has(key string) bool {
	_, ok := s.values[key]
	return ok
}

// Sub returns the table at a key of this table, nil if the key is missing or its value is no table.
func (s *Section) Sub(key string) *Section {
	values, ok := s.values[key].(map[string]any)
	if !ok {
		return nil
	}
	return &Section{doc: s.doc, name: key, at: s.at.key(key), values: values}
}

// table returns the table at a key of this table; a value that is no table is recorded as a mistake.
func (s *Section) table(key string) *Section {
	sub := s.Sub(key)
	if sub == nil {
		s.doc.report(s.at.key(key), Error, "must be a table, not "+table.Describe(s.values[key]))
	}
	return sub
}

// Decode reads the table into the struct (or map) that into points to, see [table.Decoder]. The core's keys in a component's
// table are not unknown to its plugin.
//
// Decode panics if into is no pointer to a struct or map: that is a mistake in the program.
func (s *Section) Decode(into any) bool { return s.decode(into, s.core) }

// decodeCore decodes keys that the core reads in a component's table, and leaves all others to the plugin.
func (s *Section) decodeCore(into any) { s.decode(into, s.Keys()) }

// decode decodes the table. The other keys are valid, too, and not read.
func (s *Section) decode(into any, others []string) bool {
	d := table.Decoder{
		Report: func(key, message string) {
			at := s.at.follow(key)
			s.doc.misread.Add(at.path)
			s.doc.report(at, Error, message)
		},
		Keys:   func(key string, t map[string]any) []string { return s.at.follow(key).node.order(t) },
		Hint:   s.doc.hint,
		Others: others,
		Types:  &s.doc.types,
	}
	return d.Decode(s.values, into)
}

// Errorf records a mistake at a key of the table, "" for the table itself: "term[2].from.protocol". A part of a key that
// is not bare stands in double quotes, as in TOML. The place of a key that the table does not have is that of the
// nearest table above it. Of a key whose value Decode could not read, nothing more is recorded.
func (s *Section) Errorf(key, format string, args ...any) {
	s.doc.recordf(s.at.follow(key), Error, format, args...)
}

// Warnf records something at a key that works but was probably not meant.
func (s *Section) Warnf(key, format string, args ...any) {
	s.doc.recordf(s.at.follow(key), Warning, format, args...)
}

// recordf records a problem that is not one of the value's type. What is not kept is not formatted.
func (d *document) recordf(at cursor, severity Severity, format string, args ...any) {
	switch {
	case d.misread.Follows(at.path):
	case d.problems.full(severity):
		d.report(at, severity, "")
	default:
		d.report(at, severity, fmt.Sprintf(format, args...))
	}
}
