package config

import (
	"strings"

	"github.com/rtflow/pipelined/sdk/table"
)

// decodeTable decodes a section, see [Section.Decode].
func (d *document) decodeTable(s *Section, into any) {
	decoder := table.Decoder{
		Report: func(key, message string) {
			at := s.at.follow(key)
			d.unreadable(at)
			d.report(at, Error, message)
		},
		Keys:   func(key string, t map[string]any) []string { return s.at.follow(key).node.order(t) },
		Hint:   d.hint,
		Others: s.core,
	}
	decoder.Decode(s.values, into)
}

// unreadable remembers that the value of a key has a mistake of its own.
func (d *document) unreadable(at cursor) {
	d.unread[at.path] = true
	if list, ok := elementOf(at.path); ok && !d.unread[list] {
		d.unread[list] = false
	}
}

// follows reports whether what is said about a key follows from a mistake of its value, of an element of it, or of the list
// that it is an element of.
func (d *document) follows(at cursor) bool {
	_, ok := d.unread[at.path]
	list, isElement := elementOf(at.path)
	return ok || isElement && d.unread[list]
}

// elementOf returns the path of the list that a path ends in an element of.
func elementOf(path string) (list string, ok bool) {
	if !strings.HasSuffix(path, "]") {
		return "", false
	}
	i := strings.LastIndexByte(path, '[')
	return path[:max(i, 0)], i > 0
}

func (d *document) mismatch(at cursor, want string, raw any) {
	d.report(at, Error, "must be "+want+", not "+table.Describe(raw))
}
