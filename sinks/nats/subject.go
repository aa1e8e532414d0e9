package nats

import (
	"fmt"
	"strings"
)

// escape appends a value as one token of a subject. What has a meaning in subjects (blanks, control characters, '.', '*',
// '>') and '%' itself become %XX, as in a URL: two values never give one token. So does a '$' that a value begins with: where
// it begins a subject, that belongs to the servers.
func escape(dst []byte, value string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(value) {
		switch c := value[i]; {
		case c <= ' ' || c == 0x7f || c == '.' || c == '*' || c == '>' || c == '%', c == '$' && i == 0:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// checkSubject says what is wrong with a subject that messages are published to.
func checkSubject(s string) error {
	for token := range strings.SplitSeq(s, ".") {
		switch {
		case token == "":
			return fmt.Errorf("%q has an empty token", s)
		case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c == 0x7f }):
			return fmt.Errorf("%q holds a blank or a control character", s)
		case strings.ContainsAny(token, "*>"):
			return fmt.Errorf("%q holds a wildcard, and messages are published to one subject", s)
		}
	}
	if strings.HasPrefix(s, "$") {
		return fmt.Errorf("%q begins with $, which is for the servers themselves", s)
	}
	return nil
}

// wildcard returns the narrowest subject that takes every name of a pattern in which "*" stands in or for tokens.
func wildcard(pattern string) string {
	tokens := strings.Split(pattern, ".")
	for i, token := range tokens {
		if strings.Contains(token, "*") {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}
