package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rtflow/pipelined/sdk/format"
)

// TestEventFlags checks which format read and receive print by default, and that they refuse to print binary frames on a
// terminal.
func TestEventFlags(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	for _, c := range []struct {
		flags      eventFlags
		toTerminal bool
		want       string
		wantColour bool
		mistake    string
	}{
		{eventFlags{colour: "auto"}, false, format.RFC5424, false, ""},
		{eventFlags{colour: "auto"}, true, format.Text, false, ""},
		{eventFlags{colour: "always"}, true, format.Text, true, ""},
		{eventFlags{colour: "never", format: format.JSON}, true, format.JSON, false, ""},
		{eventFlags{colour: "auto", format: format.Frames}, false, format.Frames, false, ""},
		{eventFlags{colour: "auto", format: format.Frames}, true, "", false, "frames are binary"},
		{eventFlags{colour: "sometimes"}, false, "", false, "auto, always, never"},
		{eventFlags{colour: "auto", format: "xml"}, false, "", false, "the formats are"},
	} {
		got, err := c.flags.options(c.toTerminal)
		switch {
		case c.mistake != "" && (err == nil || !strings.Contains(err.Error(), c.mistake)):
			t.Errorf("%+v: %v, want %q", c.flags, err, c.mistake)
		case c.mistake == "" && (err != nil || got.Format != c.want || got.Colour != c.wantColour):
			t.Errorf("%+v: %+v, %v", c.flags, got, err)
		}
	}
}

// TestReadText checks that the lines of the shipped capture fit 100 columns and that every record has one.
func TestReadText(t *testing.T) {
	lines := strings.Split(mustRun(t, "read", "--format", "text", edge), "\n")
	if want := strings.Count(mustRun(t, "read", "--format", "rfc5424", edge), "\n"); len(lines) != want+1 {
		t.Errorf("%d lines, want %d", len(lines)-1, want)
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 100 && !strings.Contains(line, "2001:db8") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	frames := writeFile(t, "edge.frames", mustRun(t, "read", "--format", "frames", edge))
	if got := mustRun(t, "read", "--format", "text", frames); got != strings.Join(lines, "\n") {
		t.Error("frames give other lines than their capture")
	}
}
