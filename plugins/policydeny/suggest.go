package policydeny

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
)

// didYouMean returns the end of a message about a word that is none of the valid ones: the nearest of them, or all if
// they are few, or nothing.
func didYouMean(word string, valid []string) string {
	const few = 8
	best, limit := "", 1+min(len(word)/4, 2) // edits that still look like a slip
	for _, v := range valid {
		if d := len(v) - len(word); d > limit || -d > limit {
			continue // no nearer than that, and a huge word costs nothing
		}
		// Of two that are as near, the longer one: a letter is left out more often than another is put in its place.
		if d := levenshtein.Distance(word, v, nil); d < limit || d == limit && len(v) > len(best) && d < len(v) {
			best, limit = v, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", best)
	case len(valid) > 0 && len(valid) <= few:
		return "; there is " + strings.Join(quoted(valid), ", ")
	default:
		return ""
	}
}

func quoted(list []string) []string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = strconv.Quote(s)
	}
	return q
}
