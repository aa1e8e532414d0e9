package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
)

// maxListed is how many valid names a message lists.
const maxListed = 30

// hint returns what may follow "unknown …": the nearest of the valid names if one is near, otherwise all of them.
func hint(name, plural string, valid []string) string {
	if best, ok := Nearest(name, valid); ok {
		return "did you mean " + strconv.Quote(best) + "?"
	}
	if len(valid) == 0 {
		return "there are no " + plural + " here"
	}
	valid = slices.Clone(valid)
	slices.Sort(valid)
	more := ""
	if len(valid) > maxListed {
		valid, more = valid[:maxListed], ", …"
	}
	return "the " + plural + " are: " + strings.Join(valid, ", ") + more
}

// Nearest returns the valid name that is spelled most like name, if one is near enough to be what was meant.
func Nearest(name string, valid []string) (best string, ok bool) {
	limit := 1 + min(len(name)/4, 2) // edits that still look like a slip: 1 in "id", 3 in "destination"
	name = fold(name)
	for _, v := range valid {
		if d := len(v) - len(name); d > limit || -d > limit {
			continue // also keeps the cost of a huge name down
		}
		if d := distance(name, fold(v)); d <= limit && d < len(v) {
			best, limit, ok = v, d-1, true
		}
	}
	return best, ok
}

// distance counts edits. Two neighbouring letters that have changed places are one slip, not two edits.
func distance(a, b string) int {
	if len(a) == len(b) {
		for i := range len(a) - 1 {
			if a[i] == b[i+1] && a[i+1] == b[i] && a[:i] == b[:i] && a[i+2:] == b[i+2:] && a != b {
				return 1
			}
		}
	}
	return levenshtein.Distance(a, b, nil)
}

// fold makes spellings equal that people mix up: case, and a dash for an underscore.
func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }
