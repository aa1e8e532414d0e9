package config

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"unicode/utf8"
)

// node is the place of one key or one array element in a TOML text.
type node struct {
	offset  int  // in bytes: of the last part of the key, or of the element's value
	defined bool // by a key or a header of its own, not just implied by a longer one
	keys    map[string]*node
	elems   []*node
}

// define moves the node's place from a key that implied it to its own.
func (n *node) define(offset int) {
	n.offset = offset
	n.defined = true
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
