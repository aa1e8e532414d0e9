package config

import (
	"fmt"
	"strings"
)

// maxListed is how many valid names a message lists.
const maxListed = 30

// lazy is a text that is made when it is printed: a search for the nearest name is not made for a problem that is not kept.
type lazy func() string

// String returns the text.
func (l lazy) String() string { return l() }

// Unknown says that there is nothing of that name, and which of the valid names was probably meant, or all of them.
// what is the sort of thing: "zone". The search is made when the result is printed.
func Unknown(what, name string, valid []string) fmt.Stringer {
	return lazy(func() string {
		if near, ok := Nearest(name, valid); ok {
			return fmt.Sprintf("there is no %s %q; did you mean %q?", what, name, near)
		}
		if len(valid) == 0 {
			return fmt.Sprintf("there is no %s %q, nor any other", what, name)
		}
		more := ""
		if len(valid) > maxListed {
			valid, more = valid[:maxListed], ", …"
		}
		return fmt.Sprintf("there is no %s %q; there are %s%s", what, name, strings.Join(valid, ", "), more)
	})
}
