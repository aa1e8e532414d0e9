package syslogframe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	long := strings.Repeat("x", MaxMessage)
	for _, c := range []struct {
		in   string
		want []string
		err  string
	}{
		{"", nil, ""},
		{"<14>1 a\n<14>1 b", []string{"<14>1 a", "<14>1 b"}, ""},
		{"7 <14>1 a7 <14>1\nb<14>1 c\n", []string{"<14>1 a", "<14>1\nb", "<14>1 c"}, ""},
		{"7 <14>1 a\n", []string{"<14>1 a", ""}, ""},
		{"<" + long[1:] + "\nx", []string{"<" + long[1:], "x"}, ""},
		{"10:15:21.100 deny\n2026-03-01T10:15:21Z a\n7 <14>1 a2026 b\n9999999999 <14>1 a", []string{"10:15:21.100 deny", "2026-03-01T10:15:21Z a", "<14>1 a", "2026 b", "9999999999 <14>1 a"}, ""},
		{"1 2026-03-01T10:15:21Z fw1\n07 <14>1 a\n7  <14>1 a\n7", []string{"1 2026-03-01T10:15:21Z fw1", "07 <14>1 a", "7  <14>1 a"}, "message 4: the stream ends in the middle of it"},
		{long + "x\nb", []string{"b"}, "message 1: longer than 65536 bytes"},
		{strings.Repeat(long, 9) + "\nb\n", []string{"b"}, "message 1: longer than 65536 bytes"},
		{strings.Repeat(long, 9), nil, "message 1: longer than 65536 bytes"},
		{"65537 <" + long + "7 <14>1 a", []string{"<14>1 a"}, "message 1: longer than 65536 bytes"},
		{"a\n8 <14>1 a", []string{"a"}, "message 2: the stream ends in the middle of it"},
		{"8", nil, "message 1: the stream ends in the middle of it"},
		{"8 ", nil, "message 1: the stream ends in the middle of it"},
		{"99999999 <", nil, "message 1: the stream ends in the middle of it"},
	} {
		r := NewReader(iotest.OneByteReader(strings.NewReader(c.in)))
		var got, errs []string
		for n := 1; ; n++ {
			msg, line, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if line != n {
				t.Errorf("%.20q: message %d is number %d", c.in, n, line)
			}
			if framing, ok := errors.AsType[*FramingError](err); ok {
				errs = append(errs, framing.Error())
				continue
			}
			if err != nil {
				t.Fatalf("%.20q: %v", c.in, err)
			}
			got = append(got, string(msg))
		}
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%.20q: %.60q, want %.60q", c.in, got, c.want)
		}
		if strings.Join(errs, "|") != c.err {
			t.Errorf("%.20q: %q, want %q", c.in, errs, c.err)
		}
	}
}

// TestReaderFails pins that an error of the stream is returned wherever it comes up.
func TestReaderFails(t *testing.T) {
	broken := errors.New("broken")
	for _, in := range []string{"", "8", "8 ", "8 <14>", "a line", "99999 <"} {
		r := NewReader(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken)))
		if msg, _, err := r.Next(); !errors.Is(err, broken) {
			t.Errorf("%q: %q, %v", in, msg, err)
		}
	}
}

// FuzzReader checks that every stream comes to its end, and that what is framed is read as it was.
func FuzzReader(f *testing.F) {
	for _, in := range []string{"", "7 <14>1 a7 <14>1 b", "<14>1 a\n\n8 <", "10:15 a\n"} {
		f.Add([]byte(in), []byte("<14>1 a"))
	}
	f.Fuzz(func(t *testing.T, in, msg []byte) {
		r := NewReader(bytes.NewReader(in))
		for range len(in) + 1 {
			if _, _, err := r.Next(); errors.Is(err, io.EOF) {
				break
			}
		}
		if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("%q does not end: %v", in, err)
		}
		if len(msg) == 0 || msg[0] != '<' || len(msg) > MaxMessage {
			return
		}
		r = NewReader(bytes.NewReader(append(fmt.Appendf(nil, "%d ", len(msg)), msg...)))
		if got, _, err := r.Next(); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("%q was read as %q, %v", msg, got, err)
		}
	})
}
