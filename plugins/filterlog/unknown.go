package filterlog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rtflow/pipelined/internal/spelling"
)

// unknown is the error for a name that none of the tables has, with the nearest one that they do.
func unknown(what, name string, tables ...map[string]uint32) error {
	var valid []string
	for _, t := range tables {
		valid = append(valid, slices.Sorted(maps.Keys(t))...)
	}
	return unknownOf(what, name, valid)
}

func unknownOf(what, name string, valid []string) error { return &unknownError{what, name, valid} }

// unknownError looks for the nearest name when it is printed.
type unknownError struct {
	what, name string
	valid      []string
}

func (e *unknownError) Error() string {
	if best, ok := spelling.Nearest(e.name, e.valid); ok {
		return fmt.Sprintf("unknown %s %q; did you mean %q?", e.what, e.name, best)
	}
	return fmt.Sprintf("unknown %s %q", e.what, e.name)
}
