package terminal

import (
	"io"
	"sync"
	"unicode/utf8"
)

// Writer passes text on with escapes for what is not graphic, but for line feeds and tabs. Safe for concurrent use.
type Writer struct {
	w io.Writer

	mu   sync.Mutex
	held []byte // the beginning of a rune whose end has not been written yet
	out  []byte
}

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes p. The first bytes of a rune that p cuts at its end are held back until the next Write, or until Flush.
func (t *Writer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := p
	if len(t.held) > 0 {
		in = append(t.held, p...)
	}
	t.out = t.out[:0]
	for len(in) > 0 {
		if c := in[0]; c < utf8.RuneSelf {
			if c == '\n' || c == '\t' {
				t.out = append(t.out, c)
			} else {
				t.out = appendRune(t.out, rune(c))
			}
			in = in[1:]
			continue
		}
		if !utf8.FullRune(in) {
			break
		}
		r, n := utf8.DecodeRune(in)
		t.out = appendRune(t.out, r)
		in = in[n:]
	}
	t.held = append(t.held[:0:0], in...)
	return t.pass(len(p))
}

// Flush writes what is held back: it was no rune.
func (t *Writer) Flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out = t.out[:0]
	for range t.held {
		t.out = utf8.AppendRune(t.out, utf8.RuneError)
	}
	t.held = nil
	_, err := t.pass(0)
	return err
}

// pass writes out and returns n, or the error and 0: how much of the caller's text an incomplete write was cannot be told.
func (t *Writer) pass(n int) (int, error) {
	if len(t.out) == 0 {
		return n, nil
	}
	if _, err := t.w.Write(t.out); err != nil {
		return 0, err
	}
	return n, nil
}
