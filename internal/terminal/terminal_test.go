package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ name, in, text, word string }{
		{"empty", "", "", `""`},
		{"plain", "eth0.100", "eth0.100", "eth0.100"},
		{"blank", "a b", "a b", `"a b"`},
		{"quote", `a"b`, `a"b`, `"a\"b"`},
		{"backslash", `C:\x`, `C:\x`, `C:\x`},
		{"other languages", "überall-世界", "überall-世界", "überall-世界"},
		{"replacement character", "a\ufffdb", "a\ufffdb", "a\ufffdb"},
		{"escape sequence", "a\x1b[2Jb", `a\u001b[2Jb`, `"a\x1b[2Jb"`},
		{"operating system command", "\x1b]0;title\x07", `\u001b]0;title\u0007`, `"\x1b]0;title\a"`},
		{"line breaks", "a\r\nb\tc", `a\u000d\u000ab\u0009c`, `"a\r\nb\tc"`},
		{"delete", "a\x7fb", `a\u007fb`, `"a\x7fb"`},
		{"C1", "a\u009b2Jb", `a\u009b2Jb`, `"a\u009b2Jb"`},
		{"raw C1 byte", "a\x9b2Jb", "a\ufffd2Jb", `"a\x9b2Jb"`},
		{"bidirectional override", "a\u202eb\u2066c\u200f", `a\u202eb\u2066c\u200f`, `"a\u202eb\u2066c\u200f"`},
		{"line separators", "a\u2028b\u2029", `a\u2028b\u2029`, `"a\u2028b\u2029"`},
		{"byte order mark", "\ufeffa", `\ufeffa`, `"\ufeffa"`},
		{"tag character", "a\U000e0041", `a\udb40\udc41`, `"a\U000e0041"`},
		{"invalid", "a\xff\xfeb", "a\ufffd\ufffdb", `"a\xff\xfeb"`},
		{"cut rune", "a\xe4\xb8", "a\ufffd\ufffd", `"a\xe4\xb8"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Text(c.in); got != c.text {
				t.Errorf("Text: %q, want %q", got, c.text)
			}
			if got := Word(c.in); got != c.word {
				t.Errorf("Word: %q, want %q", got, c.word)
			}
		})
	}
}

// check returns an error if a terminal would do more with s than to show it: in text of several lines, '\n' and '\t' are shown.
func check(s string, lines bool) error {
	if !utf8.ValidString(s) {
		return errors.New("not UTF-8")
	}
	for _, r := range s {
		if lines && (r == '\n' || r == '\t') {
			continue
		}
		if !unicode.IsGraphic(r) {
			return errors.New(string(r) + " is not graphic")
		}
	}
	return nil
}

// FuzzText tries all of the package on the same bytes: nothing that a terminal would act on comes through, wherever a writer's
// text is cut, and what was harmless is not changed.
func FuzzText(f *testing.F) {
	f.Add("a b", 1)
	f.Add("a\x1b[2J\u202e\x9b\nüb", 3)
	f.Add("\xe4\xb8\x96\xe7", 2)
	f.Add(`{"a":"\u202e"}`, 5)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		text := Text(s)
		if err := check(text, false); err != nil {
			t.Errorf("Text(%q) = %q: %v", s, text, err)
		}
		if check(s, false) == nil && text != s {
			t.Errorf("Text(%q) = %q", s, text)
		}
		word := Word(s)
		if err := check(word, false); err != nil {
			t.Errorf("Word(%q) = %q: %v", s, word, err)
		}
		if word == "" || !strings.HasPrefix(word, `"`) && strings.ContainsFunc(word, unicode.IsSpace) {
			t.Errorf("Word(%q) = %q is not a word", s, word)
		}
		var out bytes.Buffer
		w := NewWriter(&out)
		at := min(max(cut, 0), len(s))
		for _, part := range []string{s[:at], s[at:]} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatalf("Write(%q) = %d, %v", part, n, err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := check(out.String(), true); err != nil {
			t.Errorf("written %q: %q: %v", s, out.String(), err)
		}
		if check(s, true) == nil && out.String() != s {
			t.Errorf("written %q: %q", s, out.String())
		}
		if utf8.ValidString(s) && json.Valid([]byte(s)) && !strings.Contains(s, "\r") && !json.Valid(out.Bytes()) {
			t.Errorf("%q was JSON, %q is not", s, out.String())
		}
	})
}

func TestWriterError(t *testing.T) {
	broken := errors.New("broken")
	if n, err := NewWriter(failing{broken}).Write([]byte("x")); n != 0 || !errors.Is(err, broken) {
		t.Errorf("%d, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
