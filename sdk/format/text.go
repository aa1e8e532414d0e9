package format

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"unicode/utf8"

	"github.com/rtflow/pipelined/sdk/event"
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

// appendLong appends a constant of 17 to 32 bytes in two pieces. The compiler stores a constant of at most 16 bytes in place, and calls a
// function for a longer one.
func appendLong(b []byte, s string) []byte { return append(append(b, s[:16]...), s[16:]...) }

// appendAgain appends what stands in b from one place to another, with something behind it, again.
func appendAgain(b []byte, from, to int) []byte {
	const short = 16
	if to-from > short || from+short > len(b) {
		return append(b, b[from:to]...)
	}
	return append(b, b[from:from+short]...)[:len(b)+to-from] // so many bytes are copied in place
}

// octet is the decimal form of a byte with a dot behind it.
type octet struct {
	text uint64 // from the lowest byte on
	size uint   // in bytes
}

var octets = func() (list [256]octet) {
	for v := range list {
		text := append(strconv.AppendUint(nil, uint64(v), 10), '.')
		list[v].size = uint(len(text))
		for i, c := range text {
			list[v].text |= uint64(c) << (8 * i)
		}
	}
	return list
}()

// appendAddr appends an address, unknownName for the zero Addr of a record without family.
func appendAddr(b []byte, a netip.Addr) []byte {
	var bytes [16]byte
	switch {
	case a.Is4():
		*(*[4]byte)(bytes[:]) = a.As4()
		return appendFamily(b, event.FamilyIPv4, &bytes)
	case a.IsValid():
		return a.AppendTo(b)
	default:
		return append(b, unknownName...)
	}
}

// appendSrc appends the source address of a record.
func appendSrc(b []byte, r *event.Record) []byte { return appendFamily(b, r.Family(), r.SrcBytes()) }

// appendDst appends the destination address of a record.
func appendDst(b []byte, r *event.Record) []byte { return appendFamily(b, r.Family(), r.DstBytes()) }

// appendFamily appends an address of a family as a record holds it. Of IPv4 two octets with their dots are at most eight bytes: they are
// put together and appended as eight, and what is too much is left out of the length.
func appendFamily(b []byte, family uint8, a *[16]byte) []byte {
	switch family {
	case event.FamilyIPv4:
	case event.FamilyIPv6:
		return appendIPv6(b, a)
	default:
		return append(b, unknownName...)
	}
	first, second, third, last := &octets[a[0]], &octets[a[1]], &octets[a[2]], &octets[a[3]]
	start := uint(len(b)) + first.size + second.size
	b = binary.LittleEndian.AppendUint64(b, first.text|second.text<<(8*first.size&63))[:start]
	return binary.LittleEndian.AppendUint64(b, third.text|last.text<<(8*third.size&63))[:start+third.size+last.size-1]
}

// appendIPv6 appends an address in the form of RFC 5952, as netip does, in a fraction of its instructions.
func appendIPv6(b []byte, a *[16]byte) []byte {
	upper, lower := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	if upper == 0 && lower>>32 == 0xffff { // IPv4 within, which has a form of its own
		return netip.AddrFrom16(*a).AppendTo(b)
	}
	from, to := zeros(upper, lower)
	for i := range uint(8) {
		switch {
		case i == from:
			b = append(b, "::"[min(i, 1):]...) // the first colon is that of the group before
		case i < from || i >= to:
			b = appendGroup(b, uint16(upper>>48))
		}
		upper, lower = upper<<16|lower>>48, lower<<16
	}
	if to == 8 {
		return b
	}
	return b[:len(b)-1]
}

// zeros returns which groups of an address are left out: the most zeros in a row, the first ones of as many, and at least two; 9 and 9 for
// none.
func zeros(upper, lower uint64) (from, to uint) {
	from, to = 9, 9
	most, n := uint(1), uint(0)
	for i := range uint(8) {
		if n++; upper>>48 != 0 {
			n = 0
		}
		if n > most {
			from, to, most = i+1-n, i+1, n
		}
		upper, lower = upper<<16|lower>>48, lower<<16
	}
	return from, to
}

// appendGroup appends the hexadecimal digits of a group without leading zeros, and a colon. It appends eight bytes, and what is too much
// is left out of the length.
func appendGroup(b []byte, v uint16) []byte {
	n := uint(bits.Len16(v|1)+3) / 4
	text := uint64(nibbles[v>>8]) | uint64(nibbles[v&0xff])<<16 | ':'<<32
	return binary.LittleEndian.AppendUint64(b, text>>(32-8*n&63))[:uint(len(b))+n+1]
}

// nibbles holds the two hexadecimal digits of each byte, the first one in the lower byte.
var nibbles = func() (list [256]uint16) {
	const digits = "0123456789abcdef"
	for v := range list {
		list[v] = uint16(digits[v>>4]) | uint16(digits[v&15])<<8
	}
	return list
}()

// appendUint does what strconv.AppendUint does for base 10, in fewer instructions, and for up to eight digits without a branch.
func appendUint(b []byte, v uint64) []byte {
	if v >= 1e8 {
		b = appendUint(b, v/1e8)
		return binary.LittleEndian.AppendUint64(b, digits(uint32(v%1e8)))
	}
	return decimalOf(uint32(v)).append(b)
}

// decimal is a number in text.
type decimal struct {
	text uint64 // from the lowest byte on
	size uint   // in bytes
}

// decimalOf returns the text of v, which is less than 10^8. Most numbers have at most six digits, which are looked up.
func decimalOf(v uint32) decimal {
	if v >= 1e6 {
		n := count(v)
		return decimal{digits(v) >> ((64 - 8*n) & 63), n}
	}
	upper := v / 1e3
	high, low := threes[upper], threes[v-1e3*upper]
	n := uint(low >> 24)
	if upper != 0 {
		n = uint(high>>24) + 3
	}
	return decimal{(uint64(high&(1<<24-1)) | uint64(low&(1<<24-1))<<24) >> ((48 - 8*n) & 63), n}
}

// threes holds the three digits of each number below 1,000, the first one in the lowest byte, and in the highest byte how many of them
// remain without leading zeros.
var threes = func() (list [1000]uint32) {
	for v := range uint32(len(list)) {
		list[v] = '0' + v/100 | ('0'+v/10%10)<<8 | ('0'+v%10)<<16 | uint32(count(v))<<24
	}
	return list
}()

// append appends the number. It appends eight bytes, and what is too much is left out of the length.
func (d decimal) append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(b, d.text)[:uint(len(b))+d.size]
}

// count returns how many digits v has, which is less than 10^8. Where the next text begins depends on it, and so it does not wait for the
// digits.
func count(v uint32) uint { return uint((uint64(v) + counts[bits.Len32(v)]) >> 32) }

// counts holds for numbers of so many bits, which have d or d+1 digits, what makes d+1 of the upper half of the sum with 10^d, and d of
// that with less.
var counts = func() (list [33]uint64) {
	list[0] = 1 << 32 // 0 has one digit
	d, power := uint64(1), uint64(10)
	for i := 1; i < len(list); i++ {
		if 1<<(i-1) >= power {
			d, power = d+1, power*10
		}
		list[i] = (d+1)<<32 - power
	}
	return list
}()

// digits returns the eight digits of v, which is less than 10^8, the first one in the lowest byte. It divides the number by 10^4, then
// both halves by 100 in one step, then the four quarters by 10: each time by a multiplication and a shift.
func digits(v uint32) uint64 {
	const zeros = '0' * (1 | 1<<8 | 1<<16 | 1<<24 | 1<<32 | 1<<40 | 1<<48 | 1<<56)
	halves := uint64(v/1e4) | uint64(v%1e4)<<32
	high := halves * 5243 >> 19 & ((1<<7 - 1) * (1 | 1<<32)) // 5243/2^19 is just above 1/100
	quarters := high | (halves-100*high)<<16
	high = quarters * 103 >> 10 & ((1<<4 - 1) * (1 | 1<<16 | 1<<32 | 1<<48)) // 103/2^10 is just above 1/10
	return zeros + (high | (quarters-10*high)<<8)
}
