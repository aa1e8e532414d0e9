package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFramesCarryNames runs the daemon on a capture with a file of frames and files of every text format. Wherever the frames
// are read, without a configuration or with another one, they give the bytes that the daemon has written.
func TestFramesCarryNames(t *testing.T) {
	dir := t.TempDir()
	shipped, err := os.ReadFile("pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(`"bin/events.log"`, `"`+dir+`/rfc5424"`, `"127.0.0.1:9464"`, `""`, `sinks   = ["`, `sinks   = ["frames", "old", "json", "`).
		Replace(string(shipped))
	for name, format := range map[string]string{"frames": "frames", "old": "rfc3164", "json": "json"} {
		text += "\n[sinks." + name + "]\nplugin = \"file\"\npath = \"" + dir + "/" + format + "\"\nformat = \"" + format + "\"\n"
	}
	if _, errs, err := invoke(t, "run", "--config", writeFile(t, "p.toml", text)); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	frames := filepath.Join(dir, "frames")
	other := writeFile(t, "other.toml", "[node]\nname = \"elsewhere\"\n[zones.red]\ninterfaces = [\"eth7\"]\n")
	for _, format := range []string{"rfc5424", "rfc3164", "json"} {
		want, err := os.ReadFile(filepath.Join(dir, format))
		if err != nil || len(want) == 0 {
			t.Fatalf("%s: %d bytes, %v", format, len(want), err)
		}
		for _, config := range []string{other, filepath.Join(dir, "there is none")} {
			got, want := mustRun(t, "read", "--config", config, "--format", format, frames), string(want)
			if format == "json" { // each sink has a stream, and an epoch, of its own
				got, want = withoutEpoch(got), withoutEpoch(want)
			}
			if got != want {
				t.Errorf("%s: frames give other lines than were written live:\n%.400s\n%.400s", format, got, want)
			}
		}
	}
	again := mustRun(t, "read", "--format", "frames", frames)
	if whole, err := os.ReadFile(frames); err != nil || again != string(whole) {
		t.Errorf("frames of frames are others: %d bytes, %d, %v", len(again), len(whole), err)
	}
}

// withoutEpoch cuts the epochs out of JSON lines, and checks that every line has one.
func withoutEpoch(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		before, rest, _ := strings.Cut(line, `"pipelined":{"epoch":"`)
		_, after, ok := strings.Cut(rest, `"`)
		if !ok {
			return "no epoch in " + line
		}
		b.WriteString(before + after)
	}
	return b.String()
}
