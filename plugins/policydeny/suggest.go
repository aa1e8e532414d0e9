package policydeny

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/spelling"
)

// suggestion is the end of a message about a word that is none of the valid ones: the nearest of them, or all if they are few,
// or nothing. The nearest is looked for when the message is printed.
type suggestion struct {
	word  string
	valid []string
}

func didYouMean(word string, valid []string) suggestion { return suggestion{word, valid} }

func (s suggestion) String() string {
	word, valid := s.word, s.valid
	const few = 8
	// Of names that are as near Nearest takes the first; the longer one is more likely, because a letter is left out more
	// often than another is put in its place.
	longFirst := slices.SortedStableFunc(slices.Values(valid), func(a, b string) int { return len(b) - len(a) })
	if near, ok := spelling.Nearest(word, longFirst); ok {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(valid) == 0 || len(valid) > few {
		return ""
	}
	return "; there is " + strings.Join(quoted(valid), ", ")
}

func quoted(list []string) []string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = strconv.Quote(s)
	}
	return q
}
