package config

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// node is the place of one key or one array element in a TOML text. A document has one for every value, so that it is small.
type node struct {
	offset  uint32 // in bytes: of the last part of the key, or of the element's value
	defined bool   // by a key or a header of its own, not just implied by a longer one
	sub     *children
}

// children are the nodes below a node: keys, or elements of an array.
type children struct {
	keys  []namedNode // in the order in which the text first names them
	index map[string]int
	elems []node
}

type namedNode struct {
	name string
	node node
}

// indexedKeys is how many keys a table may have that are searched one by one.
const indexedKeys = 16

// define moves the node's place from a key that implied it to its own.
func (n *node) define(offset int) {
	n.offset = uint32(offset)
	n.defined = true
}

// child returns the node of a key, nil if the text has no such key.
func (n *node) child(key string) *node {
	if n == nil || n.sub == nil {
		return nil
	}
	if n.sub.index != nil {
		if i, ok := n.sub.index[key]; ok {
			return &n.sub.keys[i].node
		}
		return nil
	}
	for i := range n.sub.keys {
		if n.sub.keys[i].name == key {
			return &n.sub.keys[i].node
		}
	}
	return nil
}

// addChild adds the node of a key that the node does not have. The result is good until the next call.
func (n *node) addChild(key string, offset int) *node {
	sub := n.children()
	sub.keys = append(sub.keys, namedNode{key, node{offset: uint32(offset)}})
	last := len(sub.keys) - 1
	switch {
	case sub.index != nil:
		sub.index[key] = last
	case len(sub.keys) > indexedKeys:
		sub.index = make(map[string]int, 4*indexedKeys)
		for i := range sub.keys {
			sub.index[sub.keys[i].name] = i
		}
	}
	return &sub.keys[last].node
}

// addElement adds the node of an array element. The result is good until the next call.
func (n *node) addElement(offset int) *node {
	sub := n.children()
	sub.elems = append(sub.elems, node{offset: uint32(offset)})
	return &sub.elems[len(sub.elems)-1]
}

func (n *node) children() *children {
	if n.sub == nil {
		n.sub = new(children)
	}
	return n.sub
}

// offsetOf returns the offset of a key, 0 if the text has no such key.
func (n *node) offsetOf(key string) uint32 {
	if child := n.child(key); child != nil {
		return child.offset
	}
	return 0
}

// order returns the keys of a table in the order of the text.
func (n *node) order(table map[string]any) []string {
	type placed struct {
		key    string
		offset uint32
	}
	list := make([]placed, 0, len(table))
	for key := range table {
		list = append(list, placed{key, n.offsetOf(key)})
	}
	slices.SortFunc(list, func(a, b placed) int {
		if c := cmp.Compare(a.offset, b.offset); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	keys := make([]string, len(list))
	for i, p := range list {
		keys[i] = p.key
	}
	return keys
}

// element returns the node of an array element, nil if the text has no such element.
func (n *node) element(i int) *node {
	if n == nil || n.sub == nil || i < 0 || i >= len(n.sub.elems) {
		return nil
	}
	return &n.sub.elems[i]
}

// lastElement returns the node of the last array element so far, nil if there is none.
func (n *node) lastElement() *node {
	if n.sub == nil {
		return nil
	}
	return n.element(len(n.sub.elems) - 1)
}

// lines holds the offset of the first byte of every line.
type lines []uint32

func newLines(text string) lines {
	l := append(make(lines, 0, 1+strings.Count(text, "\n")), 0)
	for i := range len(text) {
		if text[i] == '\n' {
			l = append(l, uint32(i+1))
		}
	}
	return l
}

// at returns line and column, both from 1, the column in characters.
func (l lines) at(text string, offset int) (line, column int) {
	offset = min(max(offset, 0), len(text))
	line = sort.Search(len(l), func(i int) bool { return int(l[i]) > offset })
	return line, 1 + utf8.RuneCountInString(text[l[line-1]:offset])
}
