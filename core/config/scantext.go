package config

import (
	"slices"
	"strconv"
	"strings"
)

// quoted reads the rest of a string on one line.
func (s *scanner) quoted(quote byte) bool {
	for ; s.pos < len(s.text) && s.text[s.pos] != '\n'; s.pos++ {
		switch s.text[s.pos] {
		case quote:
			s.pos++
			return true
		case '\\':
			if quote == '"' {
				s.pos++
			}
		}
	}
	return false
}

// multiline reads the rest of a string that may span lines. It ends with the first run of three quotes or more: up to
// two more belong to the string (TOML 1.0, String).
func (s *scanner) multiline(quote byte) bool {
	run := 0
	for ; s.pos < len(s.text); s.pos++ {
		c := s.text[s.pos]
		if c == quote {
			run++
			continue
		}
		if run >= 3 {
			return true
		}
		run = 0
		if c == '\\' && quote == '"' {
			s.pos++
		}
	}
	s.pos = min(s.pos, len(s.text))
	return run >= 3
}

// take reads one byte if it is that one.
func (s *scanner) take(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// space skips blanks and tabs.
func (s *scanner) space() {
	for s.pos < len(s.text) && (s.text[s.pos] == ' ' || s.text[s.pos] == '\t') {
		s.pos++
	}
}

// blank skips white space, ends of lines and comments.
func (s *scanner) blank() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		case '#':
			s.comment()
		default:
			return
		}
	}
}

func (s *scanner) comment() {
	if n := strings.IndexByte(s.text[s.pos:], '\n'); n >= 0 {
		s.pos += n
	} else {
		s.pos = len(s.text)
	}
}

// endOfLine reads what may follow a value or a header on its line.
func (s *scanner) endOfLine() bool {
	s.space()
	if s.pos < len(s.text) && s.text[s.pos] == '#' {
		s.comment()
	}
	s.take('\r')
	return s.pos == len(s.text) || s.take('\n')
}

// unescape resolves the escape sequences of a basic string. The parser has checked them, or will.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		if n := slices.Index([]byte("btnfre"), text[i]); n >= 0 {
			b.WriteByte("\b\t\n\f\r\x1b"[n])
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[i]]
		if digits == 0 || i+digits >= len(text) {
			b.WriteByte(text[i])
			continue
		}
		r, err := strconv.ParseUint(text[i+1:i+1+digits], 16, 32)
		if err == nil {
			b.WriteRune(rune(r))
		}
		i += digits
	}
	return b.String()
}
