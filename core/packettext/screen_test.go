package packettext

import (
	"errors"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
)

// TestParseScreenFormats reads the records of all screens in all formats: they are of the screen, and of the same packet as far as a format
// tells.
func TestParseScreenFormats(t *testing.T) {
	all := goldenLines(t)
	read := make(map[event.Screen]int)
	for format, lines := range all {
		for name, line := range lines {
			want, ofScreen := strings.CutPrefix(name, "screen ")
			s, err := ParseScreen(line)
			if !ofScreen {
				if !errors.Is(err, ErrNoRecord) && name != "udp flood" && name != "land, alarm without drop" {
					t.Errorf("%s, %s: %+v, %v", format, name, s, err)
				}
				continue
			}
			if name == "screen unknown" {
				if err == nil {
					t.Errorf("%s: a screen without a name is read as %+v", format, s)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v: %s", format, name, err, line)
				continue
			}
			// A cookie answers a flood, and has its name.
			if got := s.Screen.String(); got != want && want != "syn-cookie" {
				t.Errorf("%s, %s: read as %s: %s", format, name, got, line)
			}
			if s.From != "untrust" && !strings.Contains(line, "N/A") {
				t.Errorf("%s, %s: from zone %q: %s", format, name, s.From, line)
			}
			if (s.Packet == nil) != (s.Alone != "") {
				t.Errorf("%s, %s: packet %v, address %q", format, name, s.Packet, s.Alone)
			}
			read[s.Screen]++
		}
	}
	if len(read) < 25 {
		t.Errorf("only records of %d screens could be read: %v", len(read), read)
	}
}

// TestEveryLine reads every line that a sink writes: it tells of a packet, or it is said why not.
func TestEveryLine(t *testing.T) {
	for format, lines := range goldenLines(t) {
		for name, line := range lines {
			_, flow := ParseLog(line)
			_, screen := ParseScreen(line)
			switch {
			case flow == nil && screen == nil:
				t.Errorf("%s, %s is a record of a flow and of a screen: %s", format, name, line)
			case flow == nil, screen == nil, !errors.Is(flow, ErrNoRecord), !errors.Is(screen, ErrNoRecord): // what is wrong with the record
			case Unreadable(line) == nil:
				t.Errorf("%s, %s is not known for a line of a log: %s", format, name, line)
			}
		}
	}
	for line, want := range map[string]string{
		`<12>1 2026-03-01T10:15:24.500Z fw1 pipelined - LOSS - events lost: reason=rate_limited zone=untrust since=- policy-deny=42`: "events that were lost",
		`-            lost   1 session-open evicted`:                   "events that were lost",
		`<14>1 2026-03-01T10:15:24.500Z fw1 sshd - - - session opened`: "no record of a session",
		`{"source":{"ip":"x"}}`:                                        "no record of a session",
		`tcp 10.0.0.1:1 - 10.0.0.2:2`:                                  "",
		`<`:                                                            "",
		``:                                                             "",
	} {
		if err := Unreadable(line); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

func FuzzParseScreen(f *testing.F) {
	for _, lines := range goldenLines(f) {
		for name, line := range lines {
			if strings.Contains(name, "screen") {
				f.Add(line)
			}
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := ParseScreen(line)
		if err != nil || s.Packet == nil {
			return
		}
		if again, err := Parse(s.Packet.Text); err != nil || again.Src != s.Packet.Src || again.Dst != s.Packet.Dst {
			t.Errorf("%q: read as %q, which is read as %+v, %v", line, s.Packet.Text, again, err)
		}
		s.Packet.Frame(0)
	})
}
