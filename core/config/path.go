package config

import (
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/table"
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
	path := table.QuotePart(name)
	if c.path != "" {
		path = c.path + "." + path
	}
	return c.to(path, c.node.child(name))
}

// index returns the cursor of an element of an array.
func (c cursor) index(i int) cursor {
	return c.to(c.path+"["+strconv.Itoa(i)+"]", c.node.element(i))
}

func (c cursor) to(path string, n *node) cursor {
	c.path, c.node = path, n
	if n != nil {
		c.offset = n.offset
	}
	return c
}

// follow returns the cursor of a key that is given as text, "term[2].from.protocol".
func (c cursor) follow(path string) cursor {
	for path != "" {
		switch path[0] {
		case '.':
			path = path[1:]
		case '[':
			digits, rest, ok := strings.Cut(path[1:], "]")
			i, err := strconv.Atoi(digits)
			if !ok || err != nil {
				return c.to(c.path+path, nil)
			}
			c, path = c.index(i), rest
		case '"':
			quoted, err := strconv.QuotedPrefix(path)
			if err != nil {
				return c.to(c.path+path, nil)
			}
			part, err := strconv.Unquote(quoted)
			if err != nil {
				return c.to(c.path+path, nil)
			}
			c, path = c.key(part), path[len(quoted):]
		default:
			n := strings.IndexAny(path, ".[")
			if n < 0 {
				n = len(path)
			}
			c, path = c.key(path[:n]), path[n:]
		}
	}
	return c
}
