package table

import (
	"github.com/rtflow/pipelined/internal/keypath"
)

// Misread holds the keys whose values could not be read, such as those of a wrong type, with true, and the lists that hold one
// with false. Other mistakes at these keys only follow from that, and are not reported. It must be made with make.
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
