package format

import (
	"encoding/binary"
	"net/netip"
	"unicode/utf8"
)

// maxName is the longest name that is printed, in bytes before escaping. Junos allows 63 for zones and policies. The limit
// keeps a line bounded: the longest, RT_FLOW_SESSION_CLOSE, stays below 4 KiB whatever the names hold.
const maxName = 128

// unknownName is what Junos prints for a name that it does not have; the public parsers drop it.
const unknownName = "N/A"

// class says what must be done about an ASCII byte in a value.
type class uint8

const (
	control   class = 1 << iota // replaced
	escSD                       // escaped in a PARAM-VALUE: '"', '\' and ']' (RFC 5424, 6.3.3)
	escJSON                     // escaped in a JSON string: '"' and '\' (RFC 8259, section 7)
	splitWord                   // blank: ends a word of free text
)

var classes = [utf8.RuneSelf]class{
	0: control, 1: control, 2: control, 3: control, 4: control, 5: control, 6: control, 7: control,
	8: control, 9: control, 10: control, 11: control, 12: control, 13: control, 14: control, 15: control,
	16: control, 17: control, 18: control, 19: control, 20: control, 21: control, 22: control, 23: control,
	24: control, 25: control, 26: control, 27: control, 28: control, 29: control, 30: control, 31: control,
	' ': splitWord, '"': escSD | escJSON, '\\': escSD | escJSON, ']': escSD, 127: control,
}

// appendValue appends a name as a PARAM-VALUE, without the quotes; unknownName if it is empty.
func appendValue(b []byte, s string) []byte { return appendName(b, s, escSD) }

// appendJSON appends a name as the inside of a JSON string. The caller leaves out a member whose name is empty.
func appendJSON(b []byte, s string) []byte {
	if s == "" {
		return b
	}
	return appendName(b, s, escJSON)
}

// appendWord appends a name as one word of free text: blanks become '_', because readers split such text at blanks.
func appendWord(b []byte, s string) []byte { return appendName(b, s, splitWord) }

func appendName(b []byte, s string, special class) []byte {
	if s == "" {
		return append(b, unknownName...)
	}
	if len(s) <= maxName && plain(s, special|control) {
		return append(b, s...)
	}
	return appendCleaned(b, cut(s), special)
}

// plain reports whether s is ASCII with no byte of the special classes: nearly every name there is.
func plain(s string, special class) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= utf8.RuneSelf || classes[c]&special != 0 {
			return false
		}
	}
	return true
}

// cut shortens s to maxName bytes, less the bytes of a rune that would be torn: three at most.
func cut(s string) string {
	if len(s) <= maxName {
		return s
	}
	end := maxName
	for end > maxName-(utf8.UTFMax-1) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

func appendCleaned(b []byte, s string, special class) []byte {
	for _, c := range s { // an invalid byte arrives as utf8.RuneError
		switch {
		case c >= 0x80 && c <= 0x9f: // C1: U+0085 is a line break to some readers, U+009B starts a terminal sequence
			b = append(b, '?')
		case c >= utf8.RuneSelf && directs(c):
			b = append(b, '?')
		case c >= utf8.RuneSelf:
			b = utf8.AppendRune(b, c)
		case classes[c]&control != 0:
			b = append(b, '?')
		case classes[c]&special == 0:
			b = append(b, byte(c))
		case special == splitWord:
			b = append(b, '_')
		default:
			b = append(b, '\\', byte(c))
		}
	}
	return b
}

// directs reports whether c changes the direction or the lines of the text around it: marks, embeddings, overrides and isolates
// (Unicode Standard Annex 9), line and paragraph separators.
func directs(c rune) bool {
	return c == 0x061c || c >= 0x200e && c <= 0x200f || c >= 0x2028 && c <= 0x202e || c >= 0x2066 && c <= 0x2069
}

// octets holds the decimal digits of each byte, from the lowest byte on, and how many they are in the highest.
var octets = func() (list [256]uint32) {
	for v := range uint32(256) {
		switch {
		case v < 10:
			list[v] = 1<<24 | '0' + v
		case v < 100:
			list[v] = 2<<24 | ('0'+v%10)<<8 | '0' + v/10
		default:
			list[v] = 3<<24 | ('0'+v%10)<<16 | ('0'+v/10%10)<<8 | '0' + v/100
		}
	}
	return list
}()

// appendAddr appends an address, unknownName for the zero Addr of a record without family.
func appendAddr(b []byte, a netip.Addr) []byte {
	switch {
	case a.Is4():
		return appendIPv4(b, a.As4())
	case a.IsValid():
		return a.AppendTo(b)
	default:
		return append(b, unknownName...)
	}
}

func appendIPv4(b []byte, a [4]byte) []byte {
	var t [4*len("255.") + 1]byte // what is written behind a number is written over by the next
	n := 0
	for _, v := range a {
		digits := octets[v]
		binary.LittleEndian.PutUint32(t[n:], digits)
		n += int(digits >> 24)
		t[n] = '.'
		n++
	}
	return append(b, t[:n-1]...)
}

// pairs holds the two digits of each number below 100.
const pairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748" +
	"49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697" +
	"9899"

// appendUint does what strconv.AppendUint does for base 10, in fewer instructions.
func appendUint(b []byte, v uint64) []byte {
	if v < 10 {
		return append(b, '0'+byte(v))
	}
	var t [20]byte
	i := len(t)
	for v >= 100 {
		pair := v % 100 * 2
		v /= 100
		i -= 2
		t[i], t[i+1] = pairs[pair], pairs[pair+1]
	}
	i -= 2
	t[i], t[i+1] = pairs[v*2], pairs[v*2+1]
	if v < 10 {
		i++
	}
	return append(b, t[i:]...)
}
