package nats

import (
	"net/url"
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
	for value, want := range map[string]string{
		"trust":      "trust",
		"dmz_1-a":    "dmz_1-a",
		"dmz.west":   "dmz%2Ewest",
		"a b":        "a%20b",
		"*":          "%2A",
		">":          "%3E",
		"100%":       "100%25",
		"%2E":        "%252E",
		"café":       "café",
		"$JS":        "%24JS",
		"a$b":        "a$b",
		"\x7f\n\x00": "%7F%0A%00",
	} {
		if got := string(escape(nil, value)); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
		}
	}
}

// FuzzEscape: a value is one token that can be published to, and the token gives the value back.
func FuzzEscape(f *testing.F) {
	for _, value := range []string{"trust", "dmz.west", "*", ">", "a b\tc", "%", "%2e", "\x00\xff", "é", "$SYS", "$JS", "$$"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if value == "" {
			return // no zone is called so
		}
		token := string(escape(nil, value))
		for _, subject := range []string{"pipelined." + token, token + ".x"} {
			if err := checkSubject(subject); err != nil || strings.Contains(token, ".") {
				t.Errorf("%q is %q: %v", value, token, err)
			}
		}
		if back, err := url.PathUnescape(token); err != nil || back != value {
			t.Errorf("%q is %q and back %q, %v", value, token, back, err)
		}
	})
}

func TestCheckSubject(t *testing.T) {
	for subject, want := range map[string]string{
		"a.b.c": "", "a": "", "a-%20": "",
		"": "empty token", "a..b": "empty token", ".a": "empty token", "a.": "empty token",
		"a b": "blank", "a.\tb": "blank", "a.*": "wildcard", "a.>": "wildcard", "$JS.API": "$",
	} {
		err := checkSubject(subject)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", subject, err, want)
		}
	}
}

func TestWildcard(t *testing.T) {
	for pattern, want := range map[string]string{"a.*.*": "a.*.*", "a.x-*.b": "a.*.b", "a": "a", "*-*": "*"} {
		if got := wildcard(pattern); got != want {
			t.Errorf("%q is %q, want %q", pattern, got, want)
		}
	}
}
