package format_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// checkShort checks that the line shows nothing but what a terminal prints, whatever the names hold.
func checkShort(t *testing.T, line []byte) {
	t.Helper()
	if !utf8.Valid(line) || strings.ContainsFunc(string(line), unicode.IsControl) {
		t.Fatalf("a character that is not printed in %q", line)
	}
}

// TestShortWidth holds that lines of IPv4 without a translation fit a terminal of 100 columns, but for counters at their limits.
func TestShortWidth(t *testing.T) {
	e := newEncoder(t, format.Options{Format: format.Text})
	seen := 0
	for _, s := range samples() {
		_, src := s.r.NATSrc()
		_, dst := s.r.NATDst()
		if src || dst || s.name == "close at every limit" || s.name == "loss of everything" {
			continue
		}
		seen++
		if line := string(e.Append(nil, s.r, names())); utf8.RuneCountInString(line) > 100 {
			t.Errorf("%s: %d columns: %s", s.name, utf8.RuneCountInString(line), line)
		}
	}
	if seen < 50 {
		t.Errorf("only %d lines were looked at", seen)
	}
}

// TestShortUnits holds how durations and counts are shortened.
func TestShortUnits(t *testing.T) {
	for _, c := range []struct {
		seconds        uint32
		packets, bytes uint64
		want           string
	}{
		{0, 1, 40, " 0s 1/0p 40/0B"},
		{59, 999, 1000, " 59s 999/0p 1.0k/0B"},
		{60, 9999, 10_000, " 1m0s 9.9k/0p 10k/0B"},
		{3599, 999_999, 1_000_000, " 59m59s 999k/0p 1.0M/0B"},
		{3661, 1, 999_999_999_999, " 1h1m 1/0p 999G/0B"},
		{90_000, 1, 1 << 63, " 1d1h 1/0p 9.2E/0B"},
	} {
		r := flow(event.SessionClose, "20", 6, "10.0.1.20:51002", "198.51.100.10:443")
		r.SetClose(c.packets, c.bytes, 0, 0, uint32(at("2026-03-01T10:15:20Z")/1e9)-c.seconds, event.CloseFIN)
		line := string(newEncoder(t, format.Options{Format: format.Text}).Append(nil, r, nil))
		if _, got, _ := strings.Cut(line, "FIN"); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestShortNAT shows translated ends with a port where the protocol has ports.
func TestShortNAT(t *testing.T) {
	for _, c := range []struct {
		proto    uint8
		src, dst string
		want     string
	}{
		{6, "10.0.1.20:51002", "198.51.100.10:443", " snat 203.0.113.1:51002 dnat 10.0.2.80:443"},
		{47, "10.0.1.20:0", "198.51.100.10:0", " snat 203.0.113.1 dnat 10.0.2.80"},
		{50, "10.0.1.20:0", "198.51.100.10:0", " snat 203.0.113.1 dnat 10.0.2.80"},
		{1, "10.0.1.20:7", "198.51.100.10:1", " snat 203.0.113.1 dnat 10.0.2.80"},
	} {
		r := flow(event.SessionOpen, "20", c.proto, c.src, c.dst)
		src, dst := [16]byte{203, 0, 113, 1}, [16]byte{10, 0, 2, 80}
		r.SetNAT(&src, &dst, r.SrcPort(), r.DstPort())
		if line := string(newEncoder(t, format.Options{Format: format.Text}).Append(nil, r, nil)); !strings.HasSuffix(line, c.want) {
			t.Errorf("protocol %d: %q does not end with %q", c.proto, line, c.want)
		}
	}
}

// TestShortColour holds that colour adds nothing but colour.
func TestShortColour(t *testing.T) {
	plain, coloured := newEncoder(t, format.Options{Format: format.Text}), newEncoder(t, format.Options{Format: format.Text, Colour: true})
	for _, s := range samples() {
		got := string(coloured.Append(nil, s.r, names()))
		if strings.Count(got, "\x1b[") != 2 {
			t.Errorf("%s: %q", s.name, got)
		}
		head, rest, _ := strings.Cut(got, "\x1b[")
		_, rest, _ = strings.Cut(rest, "m")
		word, rest, _ := strings.Cut(rest, "\x1b[0m")
		if want := string(plain.Append(nil, s.r, names())); head+word+rest != want {
			t.Errorf("%s: %q, want %q", s.name, head+word+rest, want)
		}
	}
}
