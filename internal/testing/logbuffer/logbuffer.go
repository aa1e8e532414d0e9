// Package logbuffer holds what a program or a logger under test has written, for a test that reads it meanwhile.
package logbuffer

import (
	"strings"
	"sync"
)

// Buffer keeps what is written to it. The zero value is empty. Safe for concurrent use.
type Buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends p.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
