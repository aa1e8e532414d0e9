// Package keypath writes and reads the paths of keys in a configuration: "servers[1].tls.cert". A part of a path that TOML
// does not take bare stands in double quotes: `addresses."web 1"[0]`.
package keypath

import (
	"regexp"
	"strconv"
	"strings"
)

// Join returns the path of a key of the table at path; "" is the outermost table.
func Join(path, key string) string {
	if path == "" {
		return Quote(key)
	}
	return path + "." + Quote(key)
}

// Element returns the path of an element of the list at path.
func Element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// List returns the path of the list that a path is an element of; ok is false if it is none.
func List(path string) (list string, ok bool) {
	if !strings.HasSuffix(path, "]") {
		return "", false
	}
	i := strings.LastIndexByte(path, '[')
	return path[:max(i, 0)], i > 0
}

// Part is a step of a path: a key of a table, or the place of an element in a list.
type Part struct {
	Key     string // without quotes
	Index   int
	Element bool // it is the place of an element
}

// Format returns the path that these parts make.
func Format(parts []Part) string {
	var b []byte
	for i, p := range parts {
		switch {
		case p.Element:
			b = append(strconv.AppendInt(append(b, '['), int64(p.Index), 10), ']')
		case i > 0:
			b = append(append(b, '.'), Quote(p.Key)...)
		default:
			b = append(b, Quote(p.Key)...)
		}
	}
	return string(b)
}

// Next returns the first part of a path and what is left of it. ok is false if the path is empty or cannot be read.
func Next(path string) (p Part, rest string, ok bool) {
	path = strings.TrimPrefix(path, ".")
	switch {
	case path == "":
		return p, "", false
	case path[0] == '[':
		digits, rest, closed := strings.Cut(path[1:], "]")
		i, err := strconv.Atoi(digits)
		return Part{Index: i, Element: true}, rest, closed && err == nil
	case path[0] == '"':
		quoted, err := strconv.QuotedPrefix(path)
		if err != nil {
			return p, "", false
		}
		key, err := strconv.Unquote(quoted)
		return Part{Key: key}, path[len(quoted):], err == nil
	}
	n := strings.IndexAny(path, ".[")
	if n < 0 {
		n = len(path)
	}
	return Part{Key: path[:n]}, path[n:], true
}

// Quote returns a key as it stands in a path: bare if TOML takes it bare.
func Quote(key string) string {
	for i := range len(key) {
		if !Bare(key[i]) {
			return strconv.Quote(key)
		}
	}
	if key == "" {
		return `""`
	}
	return key
}

// Bare reports whether a key with that byte in it needs no quotes in TOML.
func Bare(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

var secret = regexp.MustCompile(`(token|password|passwd|passphrase|secret|credential|authorization|bearer|community|signature|\bsig|api[_-]?key|private[_-]?key)s?"?($|[.\[])`)

// Secret reports whether the value of a key is not to be shown: by its name it is a token, a password or the like. key may be a path, of
// which one part has such a name, or the name of a variable or an option.
func Secret(key string) bool {
	lower := strings.ToLower(key)
	// Nearly every key has none of these, and thousands of them may be wrong at once: the expression takes a hundred times as long.
	for _, word := range [...]string{"token", "passw", "passphrase", "secret", "credential", "authorization", "bearer", "community", "sig", "key"} {
		if strings.Contains(lower, word) {
			return secret.MatchString(lower)
		}
	}
	return false
}
