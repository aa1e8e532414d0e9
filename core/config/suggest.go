package config

import (
	"fmt"
	"strings"
)

// Unknown says that there is nothing of that name, and which of the valid names was probably meant, or all of them.
// what is the sort of thing: "zone".
func Unknown(what, name string, valid []string) string {
	if near, ok := Nearest(name, valid); ok {
		return fmt.Sprintf("there is no %s %q; did you mean %q?", what, name, near)
	}
	if len(valid) == 0 {
		return fmt.Sprintf("there is no %s %q, nor any other", what, name)
	}
	return fmt.Sprintf("there is no %s %q; there are %s", what, name, strings.Join(valid, ", "))
}
