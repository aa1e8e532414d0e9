package filterlog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rtflow/pipelined/core/config"
)

// unknown is the error for a name that none of the tables has, with the nearest one that they do.
func unknown(what, name string, tables ...map[string]uint32) error {
	var valid []string
	for _, t := range tables {
		valid = append(valid, slices.Sorted(maps.Keys(t))...)
	}
	return unknownOf(what, name, valid)
}

func unknownOf(what, name string, valid []string) error {
	if best, ok := config.Nearest(name, valid); ok {
		return fmt.Errorf("unknown %s %q; did you mean %q?", what, name, best)
	}
	return fmt.Errorf("unknown %s %q", what, name)
}
