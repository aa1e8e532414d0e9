package table

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"
)

// maxListed is how many valid names a message lists.
const maxListed = 30

// Hint returns what may follow "unknown …": the nearest of the valid names if one is near, otherwise all of them.
func Hint(name, plural string, valid []string) string {
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

// Describe names a value as its author would.
func Describe(raw any) string {
	switch v := raw.(type) {
	case string:
		return "the string " + strconv.Quote(Shorten(v))
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	case nil:
		return "null"
	}
	return "an array"
}

// Shorten keeps a message on one line.
func Shorten(s string) string {
	const most = 40
	for i := range s {
		if i >= most {
			return s[:i] + "…"
		}
	}
	return s
}

// IsArray reports whether a value of a tree is an array.
func IsArray(raw any) bool { return raw != nil && reflect.TypeOf(raw).Kind() == reflect.Slice }

// join returns the key of a key in a table.
func join(at, key string) string {
	key = QuotePart(key)
	if at == "" {
		return key
	}
	return at + "." + key
}

// QuotePart returns a part of a key as TOML wants it: bare if that is possible.
func QuotePart(name string) string {
	for i := range len(name) {
		if !BareKeyByte(name[i]) {
			return strconv.Quote(name)
		}
	}
	if name == "" {
		return `""`
	}
	return name
}

// BareKeyByte reports whether a key with that byte in it needs no quotes in TOML.
func BareKeyByte(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
