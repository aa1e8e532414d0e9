package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rtflow/pipelined/sdk/format"
)

// TestShape holds which format read prints where nothing is said, and that binary frames stay away from a terminal.
func TestShape(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	for _, c := range []struct {
		o          readOptions
		want       string
		wantColour bool
		mistake    string
	}{
		{readOptions{colour: "auto"}, format.RFC5424, false, ""},
		{readOptions{colour: "auto", toTerminal: true}, format.Text, false, ""},
		{readOptions{colour: "always", toTerminal: true}, format.Text, true, ""},
		{readOptions{colour: "never", format: format.JSON, toTerminal: true}, format.JSON, false, ""},
		{readOptions{colour: "auto", format: format.Frames}, format.Frames, false, ""},
		{readOptions{colour: "auto", format: format.Frames, toTerminal: true}, "", false, "frames are binary"},
		{readOptions{colour: "sometimes"}, "", false, "auto, always, never"},
		{readOptions{colour: "auto", format: "xml"}, "", false, "the formats are"},
	} {
		got, err := c.o.shape()
		switch {
		case c.mistake != "" && (err == nil || !strings.Contains(err.Error(), c.mistake)):
			t.Errorf("%+v: %v, want %q", c.o, err, c.mistake)
		case c.mistake == "" && (err != nil || got.Format != c.want || got.Colour != c.wantColour):
			t.Errorf("%+v: %+v, %v", c.o, got, err)
		}
	}
}

// TestReadText holds that the lines of the shipped capture fit 100 columns and that every record has one.
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
