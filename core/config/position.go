package config

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rtflow/pipelined/internal/keypath"
)

// What a text may nest and how long a key may get. The parser keeps the full path of every key and recurses into every
// value, so that without limits a small file could cost any amount of memory and stack.
const (
	maxDepth = 32  // key parts and arrays inside each other
	maxPath  = 512 // bytes of all parts of a key together
)

// node is the place of one key or one array element in a TOML text.
type node struct {
	offset  int  // in bytes: of the last part of the key, or of the element's value
	defined bool // by a key or a header of its own, not just implied by a longer one
	keys    map[string]*node
	elems   []*node
}

// child returns the node of a key, nil if the text has no such key.
func (n *node) child(key string) *node {
	if n == nil {
		return nil
	}
	return n.keys[key]
}

// offsetOf returns the offset of a key, 0 if the text has no such key.
func (n *node) offsetOf(key string) int {
	if child := n.child(key); child != nil {
		return child.offset
	}
	return 0
}

// order returns the keys of a table in the order of the text.
func (n *node) order(table map[string]any) []string { return orderOf(n, table) }

func orderOf[V any](n *node, table map[string]V) []string {
	return slices.SortedFunc(maps.Keys(table), func(a, b string) int {
		return cmp.Or(cmp.Compare(n.offsetOf(a), n.offsetOf(b)), cmp.Compare(a, b))
	})
}

// element returns the node of an array element, nil if the text has no such element.
func (n *node) element(i int) *node {
	if n == nil || i < 0 || i >= len(n.elems) {
		return nil
	}
	return n.elems[i]
}

// lines holds the offset of the first byte of every line.
type lines []int

func newLines(text string) lines {
	l := lines{0}
	for i := range len(text) {
		if text[i] == '\n' {
			l = append(l, i+1)
		}
	}
	return l
}

// at returns line and column, both from 1, the column in characters.
func (l lines) at(text string, offset int) (line, column int) {
	offset = min(max(offset, 0), len(text))
	line = sort.SearchInts(l, offset+1)
	return line, 1 + utf8.RuneCountInString(text[l[line-1]:offset])
}

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

// place is a node and what its path has used up of the limits.
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
		at.elems = append(at.elems, &node{offset: offset, defined: true})
		at.node = at.elems[len(at.elems)-1]
	} else {
		at.define(offset)
	}
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
	if n := len(parent.elems); n > 0 {
		parent = parent.elems[n-1]
	}
	at.node = parent.keys[name]
	if at.node == nil {
		at.node = &node{offset: offset}
		if parent.keys == nil {
			parent.keys = make(map[string]*node)
		}
		parent.keys[name] = at.node
	}
	return at, true
}

// define moves the node's place from a key that implied it to its own.
func (n *node) define(offset int) {
	n.offset = offset
	n.defined = true
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
		elem := place{node: &node{offset: s.pos}, depth: at.depth, size: at.size}
		at.elems = append(at.elems, elem.node)
		if !s.value(elem) {
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

// quoted reads the rest of a string on one line.
func (s *scanner) quoted(quote byte) bool {
	for ; s.pos < len(s.text) && s.text[s.pos] != '\n'; s.pos++ {
		switch s.text[s.pos] {
		case quote:
			s.pos++
			return true
		case '\\':
			if quote == '"' {
				s.pos++
			}
		}
	}
	return false
}

// multiline reads the rest of a string that may span lines. It ends with the first run of three quotes or more: up to
// two more belong to the string (TOML 1.0, String).
func (s *scanner) multiline(quote byte) bool {
	run := 0
	for ; s.pos < len(s.text); s.pos++ {
		c := s.text[s.pos]
		if c == quote {
			run++
			continue
		}
		if run >= 3 {
			return true
		}
		run = 0
		if c == '\\' && quote == '"' {
			s.pos++
		}
	}
	s.pos = min(s.pos, len(s.text))
	return run >= 3
}

// take reads one byte if it is that one.
func (s *scanner) take(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// space skips blanks and tabs.
func (s *scanner) space() {
	for s.pos < len(s.text) && (s.text[s.pos] == ' ' || s.text[s.pos] == '\t') {
		s.pos++
	}
}

// blank skips white space, ends of lines and comments.
func (s *scanner) blank() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		case '#':
			s.comment()
		default:
			return
		}
	}
}

func (s *scanner) comment() {
	if n := strings.IndexByte(s.text[s.pos:], '\n'); n >= 0 {
		s.pos += n
	} else {
		s.pos = len(s.text)
	}
}

// endOfLine reads what may follow a value or a header on its line.
func (s *scanner) endOfLine() bool {
	s.space()
	if s.pos < len(s.text) && s.text[s.pos] == '#' {
		s.comment()
	}
	s.take('\r')
	return s.pos == len(s.text) || s.take('\n')
}

func (s *scanner) stop(offset int, reason string) bool {
	s.pos, s.reason = offset, reason
	return false
}

// unescape resolves the escape sequences of a basic string. The parser has checked them, or will.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		if n := slices.Index([]byte("btnfre"), text[i]); n >= 0 {
			b.WriteByte("\b\t\n\f\r\x1b"[n])
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[i]]
		if digits == 0 || i+digits >= len(text) {
			b.WriteByte(text[i])
			continue
		}
		r, err := strconv.ParseUint(text[i+1:i+1+digits], 16, 32)
		if err == nil {
			b.WriteRune(rune(r))
		}
		i += digits
	}
	return b.String()
}
