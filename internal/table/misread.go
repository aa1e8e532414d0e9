package table

import (
	"github.com/rtflow/pipelined/internal/keypath"
)

// Misread holds the keys whose values have a mistake of their own, such as a wrong type: true, or false for a list that
// holds one. What is said about them besides follows from that. The zero value must be made.
type Misread map[string]bool

// Add records a key.
func (m Misread) Add(key string) {
	m[key] = true
	if list, ok := keypath.List(key); ok && !m[list] {
		m[list] = false
	}
}

// Follows reports whether what is said about a key follows from a mistake of its value, of an element of it, or of the list
// that it is an element of.
func (m Misread) Follows(key string) bool {
	_, ok := m[key]
	list, isElement := keypath.List(key)
	return ok || isElement && m[list]
}
