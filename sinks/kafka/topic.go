package kafka

import (
	"fmt"
	"strings"
)

// maxTopic is the longest name of a topic (Kafka's Topic.MAX_NAME_LENGTH).
const maxTopic = 249

// escape appends a value as a part of a topic's name, which has letters, digits, '.', '_' and '-'. Any other byte becomes
// _xx in lower-case hexadecimal; an underscore does so where it would look like that. Two values never give one name.
func escape(dst []byte, value string) []byte {
	const digits = "0123456789abcdef"
	for i := range len(value) {
		switch c := value[i]; {
		case c == '_' && !looksEscaped(value[i:]), legal(c) && c != '_':
			dst = append(dst, c)
		default:
			dst = append(dst, '_', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

func legal(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

func looksEscaped(s string) bool { return len(s) >= 3 && isHex(s[1]) && isHex(s[2]) }

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

// checkTopic says what is wrong with a topic's name.
func checkTopic(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the topic is missing")
	case name == "." || name == "..":
		return fmt.Errorf("%q is no name of a topic", name)
	case len(name) > maxTopic:
		return fmt.Errorf("a topic of %d bytes, and Kafka takes %d", len(name), maxTopic)
	case strings.ContainsFunc(name, func(c rune) bool { return c > 0x7f || !legal(byte(c)) }):
		return fmt.Errorf("%q holds a character that topics do not have: want letters, digits, '.', '_' and '-'", name)
	}
	return nil
}
