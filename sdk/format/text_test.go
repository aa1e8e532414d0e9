package format

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("a", maxName)
	for _, c := range []struct{ name, in, sd, json, word string }{
		{"empty", "", "N/A", "", "N/A"},
		{"plain", "web-out", "web-out", "web-out", "web-out"},
		{"escapes", `a"b\c]d`, `a\"b\\c\]d`, `a\"b\\c]d`, `a"b\c]d`},
		{"blank", "a b", "a b", "a b", "a_b"},
		{"controls", "a\nb\x00c\x7fd\te", "a?b?c?d?e", "a?b?c?d?e", "a?b?c?d?e"},
		{"C1 controls", "a\u0085b\u009bc", "a?b?c", "a?b?c", "a?b?c"},
		{"directions", "a\u202eb\u2067c\u200fd\u061ce\u2028f", "a?b?c?d?e?f", "a?b?c?d?e?f", "a?b?c?d?e?f"},
		{"other languages", "überall-世界", "überall-世界", "überall-世界", "überall-世界"},
		{"invalid UTF-8", "a\xff\xfeb", "a\ufffd\ufffdb", "a\ufffd\ufffdb", "a\ufffd\ufffdb"},
		{"as long as may be", long, long, long, long},
		{"too long", long + "b", long, long, long},
		{"cut in a rune", long[1:] + "ü", long[1:], long[1:], long[1:]},
		{"cut in a long rune", long[3:] + "𝄞", long[3:], long[3:], long[3:]},
		{"cut behind a rune", long[2:] + "üb", long[2:] + "ü", long[2:] + "ü", long[2:] + "ü"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(appendValue(nil, c.in)); got != c.sd {
				t.Errorf("PARAM-VALUE %q, want %q", got, c.sd)
			}
			if got := string(appendJSON(nil, c.in)); got != c.json {
				t.Errorf("JSON %q, want %q", got, c.json)
			}
			if got := string(appendWord(nil, c.in)); got != c.word {
				t.Errorf("word %q, want %q", got, c.word)
			}
		})
	}
}

func TestAppendUint(t *testing.T) {
	for shift := range 64 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1, ^uint64(0) >> shift} {
			if got, want := string(appendUint([]byte("x"), v)), "x"+strconv.FormatUint(v, 10); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	for v := uint64(10); v < 1e19; v *= 10 {
		for _, v := range []uint64{v - 1, v, v + 1} {
			if got, want := string(appendUint(nil, v)), strconv.FormatUint(v, 10); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	for v := range uint64(100_000) {
		if got, want := string(appendUint(nil, v)), strconv.FormatUint(v, 10); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

func TestAppendAddr(t *testing.T) {
	for v := range 256 {
		for place := range 4 {
			var a [4]byte
			a[place], a[(place+1)%4] = byte(v), 255-byte(v)
			if got, want := string(appendAddr([]byte("x"), netip.AddrFrom4(a))), "x"+netip.AddrFrom4(a).String(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	for _, s := range []string{"::", "2001:db8::1", "::ffff:10.1.2.3"} {
		if got := string(appendAddr(nil, netip.MustParseAddr(s))); got != s {
			t.Errorf("%q, want %q", got, s)
		}
	}
	if got := string(appendAddr(nil, netip.Addr{})); got != unknownName {
		t.Errorf("%q for no address", got)
	}
}

// TestAppendIPv6 compares the text of addresses with netip's: of those with zeros in each set of groups and short numbers in the others,
// and of random ones.
func TestAppendIPv6(t *testing.T) {
	check := func(a [16]byte) {
		t.Helper()
		if got, want := string(appendFamily([]byte("x"), event.FamilyIPv6, &a)), "x"+netip.AddrFrom16(a).String(); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for set := range 1 << 8 {
		for range 50 {
			var a [16]byte
			for group := range 8 {
				if set>>group&1 != 0 {
					binary.BigEndian.PutUint16(a[2*group:], uint16(r.UintN(1<<16))>>r.UintN(16))
				}
			}
			check(a)
			a[10], a[11] = 0xff, 0xff // IPv4 within, or nearly
			check(a)
		}
	}
}
