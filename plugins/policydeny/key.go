package policydeny

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// elementKey returns the key of an element of the list at key.
func elementKey(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

// tableKey returns the key of an entry of a table, quoted where TOML wants it.
func tableKey(table, name string) string {
	bare := name != ""
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
			bare = false
		}
	}
	if bare {
		return table + "." + name
	}
	return table + "." + strconv.Quote(name)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
