package config

import (
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/keypath"
)

// What a text may nest and how long a key may get. The parser keeps the full path of every key and recurses into every
// value, so that without limits a small file could cost any amount of memory and stack.
const (
	maxDepth = 32  // key parts and arrays inside each other
	maxPath  = 512 // bytes of all parts of a key together
)

// scan returns the places of all keys of a TOML text without a byte order mark. It does not check the text, that is the
// parser's work: where the text is no TOML it stops, and what it returns is right for every text that the parser takes.
// It runs before the parser, because it refuses what nests too deeply: reason then says so.
func scan(text string) (root *node, offset int, reason string) {
	root = new(node)
	s := scanner{text: text}
	s.document(place{node: root})
	return root, s.pos, s.reason
}

// scanner reads a text once. Its methods return false where it must stop.
type scanner struct {
	text   string
	pos    int
	reason string // what limit was exceeded at pos
}

// place is a node and what its path has used up of the limits. The scanner adds nodes only below the one that it holds, so that
// the pointer stays good.
type place struct {
	*node
	depth, size int
}

func (s *scanner) document(root place) {
	table := root
	for {
		s.blank()
		if s.pos == len(s.text) {
			return
		}
		ok := false
		if s.text[s.pos] == '[' {
			table, ok = s.header(root)
		} else {
			ok = s.pair(table)
		}
		if !ok || !s.endOfLine() {
			return
		}
	}
}

// header reads [table] or [[table]] and returns the table it opens.
func (s *scanner) header(root place) (place, bool) {
	s.pos++
	array := s.take('[')
	at, offset, ok := s.key(root)
	if !ok || !s.take(']') || array && !s.take(']') {
		return at, false
	}
	if array {
		at.node = at.addElement(offset)
	}
	at.define(offset)
	return at, true
}

// pair reads key = value.
func (s *scanner) pair(table place) bool {
	at, offset, ok := s.key(table)
	if !ok || !s.take('=') {
		return false
	}
	at.define(offset)
	s.space()
	return s.value(at)
}

// key reads a dotted key and returns its node and the offset of its last part.
func (s *scanner) key(at place) (_ place, offset int, ok bool) {
	for {
		s.space()
		offset = s.pos
		name, ok := s.part()
		if !ok {
			return at, offset, false
		}
		if at, ok = s.descend(at, name, offset); !ok {
			return at, offset, false
		}
		s.space()
		if !s.take('.') {
			return at, offset, true
		}
	}
}

// descend returns the node of a key of a table; of an array of tables it is the last table that is meant.
func (s *scanner) descend(at place, name string, offset int) (place, bool) {
	at.depth++
	at.size += len(name) + 1
	switch {
	case at.depth > maxDepth:
		return at, s.stop(offset, "tables and arrays are nested more than "+strconv.Itoa(maxDepth)+" levels deep")
	case at.size > maxPath:
		return at, s.stop(offset, "the path of this key is longer than "+strconv.Itoa(maxPath)+" bytes")
	}
	parent := at.node
	if last := parent.lastElement(); last != nil {
		parent = last
	}
	if at.node = parent.child(name); at.node == nil {
		at.node = parent.addChild(name, offset)
	}
	return at, true
}

// part reads one part of a key, bare or quoted.
func (s *scanner) part() (string, bool) {
	if s.pos == len(s.text) {
		return "", false
	}
	start := s.pos
	switch c := s.text[s.pos]; c {
	case '"', '\'':
		s.pos++
		if !s.quoted(c) {
			return "", false
		}
		name := s.text[start+1 : s.pos-1]
		if c == '"' {
			name = unescape(name)
		}
		return name, true
	}
	for s.pos < len(s.text) && keypath.Bare(s.text[s.pos]) {
		s.pos++
	}
	return s.text[start:s.pos], s.pos > start
}

// value reads a value, whose keys and elements belong to the node.
func (s *scanner) value(at place) bool {
	if s.pos == len(s.text) {
		return false
	}
	switch c := s.text[s.pos]; c {
	case '"', '\'':
		if strings.HasPrefix(s.text[s.pos:], strings.Repeat(string(c), 3)) {
			s.pos += 3
			return s.multiline(c)
		}
		s.pos++
		return s.quoted(c)
	case '[':
		return s.array(at)
	case '{':
		return s.inline(at)
	}
	n := strings.IndexAny(s.text[s.pos:], ",]}#\n")
	if n < 0 {
		n = len(s.text) - s.pos
	}
	s.pos += n
	return n > 0
}

func (s *scanner) array(at place) bool {
	if at.depth++; at.depth > maxDepth {
		return s.stop(s.pos, "tables and arrays are nested more than "+strconv.Itoa(maxDepth)+" levels deep")
	}
	s.pos++
	for {
		s.blank()
		if s.take(']') {
			return true
		}
		if !s.value(place{node: at.addElement(s.pos), depth: at.depth, size: at.size}) {
			return false
		}
		s.blank()
		if !s.take(',') {
			return s.take(']')
		}
	}
}

func (s *scanner) inline(at place) bool {
	s.pos++
	for {
		s.blank()
		if s.take('}') {
			return true
		}
		if !s.pair(at) {
			return false
		}
		s.blank()
		if !s.take(',') {
			return s.take('}')
		}
	}
}

// stop ends the scan at a limit that was exceeded.
func (s *scanner) stop(offset int, reason string) bool {
	s.pos, s.reason = offset, reason
	return false
}
