package terminal

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns s with escapes for what is not graphic, line breaks and tabs included. The result stays on one line.
func Text(s string) string {
	if clean(s) {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	for _, r := range s { // an invalid byte arrives as utf8.RuneError
		b = appendRune(b, r)
	}
	return string(b)
}

// Word returns s as one word of a line: like [Text], but quoted if it is empty, holds blanks or quotes, or needs escapes.
func Word(s string) string {
	if s != "" && clean(s) && !strings.ContainsFunc(s, func(r rune) bool { return r == '"' || unicode.IsSpace(r) }) {
		return s
	}
	return strconv.QuoteToGraphic(s)
}

// Line returns s as a line of a log: like [Text], but without blanks around it, and with blanks for tabs.
func Line(s string) string { return Text(strings.TrimSpace(strings.ReplaceAll(s, "\t", " "))) }

// clean reports whether every rune of s is graphic and valid.
func clean(s string) bool {
	for i, r := range s {
		if r < utf8.RuneSelf {
			if r < ' ' || r == 0x7f {
				return false
			}
			continue
		}
		if !unicode.IsGraphic(r) {
			return false
		}
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
	}
	return true
}

// appendRune appends r, escaped if it is not graphic.
func appendRune(b []byte, r rune) []byte {
	if unicode.IsGraphic(r) {
		return utf8.AppendRune(b, r)
	}
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return appendEscape(appendEscape(b, high), low)
	}
	return appendEscape(b, r)
}

func appendEscape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&0xf], digits[r>>8&0xf], digits[r>>4&0xf], digits[r&0xf])
}
