package config

import (
	"github.com/rtflow/pipelined/internal/keypath"
)

// cursor is a key of a document while it is decoded: its path as a person reads it and its place. A key that is not in
// the text has the place of the nearest table above it.
type cursor struct {
	path   string
	node   *node // nil if the text has no such key
	offset int
}

// key returns the cursor of a key of a table.
func (c cursor) key(name string) cursor {
	return c.to(keypath.Join(c.path, name), c.node.child(name))
}

// index returns the cursor of an element of an array.
func (c cursor) index(i int) cursor {
	return c.to(keypath.Element(c.path, i), c.node.element(i))
}

func (c cursor) to(path string, n *node) cursor {
	c.path, c.node = path, n
	if n != nil {
		c.offset = int(n.offset)
	}
	return c
}

// walk returns the cursor of a key below this one.
func (c cursor) walk(path []keypath.Part) cursor {
	for _, part := range path {
		if part.Element {
			c = c.index(part.Index)
		} else {
			c = c.key(part.Key)
		}
	}
	return c
}

// follow returns the cursor of a key that is given as text, "term[2].from.protocol".
func (c cursor) follow(path string) cursor {
	for path != "" {
		part, rest, ok := keypath.Next(path)
		switch {
		case !ok:
			return c.to(c.path+path, nil)
		case part.Element:
			c = c.index(part.Index)
		default:
			c = c.key(part.Key)
		}
		path = rest
	}
	return c
}
