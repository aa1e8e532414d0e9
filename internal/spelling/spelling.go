// Package spelling finds what a misspelled name was meant to be, and words what a message says about it.
//
// Whoever looks a name up in a list of known ones (keys, kinds, zones, commands) reports a failure with it:
//
//	return fmt.Errorf("%s", spelling.Unknown("zone", name, known))   // there is no zone "untust"; did you mean "untrust"?
//	"unknown key; " + spelling.Hint(name, "keys", known)             // unknown key; the keys are: cert, key
//	fmt.Errorf("%q is not an action%s", word, spelling.Suggest(word, known))
//
// [Unknown] and [Suggest] look for the nearest name when their result is printed: a message that nobody keeps costs nothing.
package spelling

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// How many valid names a message lists: all that are there up to most, and behind another message only up to few.
const (
	most = 30
	few  = 8
)

// Hint returns what may follow "unknown …; ": the nearest of the valid names if one is near, otherwise all of them, sorted.
// plural is the sort of thing they are: "keys".
func Hint(name, plural string, valid []string) string {
	if near, ok := Nearest(name, valid); ok {
		return didYouMean(near)
	}
	if len(valid) == 0 {
		return "there are no " + plural + " here"
	}
	return "the " + plural + " are: " + list(slices.Sorted(slices.Values(valid)))
}

// Unknown says that there is nothing of that name, and which of the valid names was probably meant, or else all of them in
// their order. what is the sort of thing: "zone".
func Unknown(what, name string, valid []string) fmt.Stringer {
	return Lazy(func() string {
		none := "there is no " + what + " " + strconv.Quote(name)
		if near, ok := Nearest(name, valid); ok {
			return none + "; " + didYouMean(near)
		}
		if len(valid) == 0 {
			return none + ", nor any other"
		}
		return none + "; there are " + list(valid)
	})
}

// Suggest returns the end of a message about a name that is none of the valid ones, with the semicolon before it: the
// nearest of them, or all if they are few, or nothing.
func Suggest(name string, valid []string) fmt.Stringer {
	return Lazy(func() string {
		if near, ok := Nearest(name, valid); ok {
			return "; " + didYouMean(near)
		}
		if len(valid) == 0 || len(valid) > few {
			return ""
		}
		quoted := make([]string, len(valid))
		for i, v := range valid {
			quoted[i] = strconv.Quote(v)
		}
		return "; there is " + strings.Join(quoted, ", ")
	})
}

// Lazy is a text that is made when it is printed.
type Lazy func() string

// String makes the text.
func (l Lazy) String() string { return l() }

func didYouMean(near string) string { return "did you mean " + strconv.Quote(near) + "?" }

func list(names []string) string {
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// Shorten cuts a text off that is too long for a message.
func Shorten(s string) string {
	const longest = 40
	for i := range s {
		if i >= longest {
			return s[:i] + "…"
		}
	}
	return s
}

// Quote returns a text in double quotes, cut off if it is too long for a message.
func Quote(s string) string { return strconv.Quote(Shorten(s)) }
