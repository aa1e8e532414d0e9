package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/metrics"
)

// TestReadClose ends what is open at the end of a capture, also of one that is cut off; without --close it stays open.
func TestReadClose(t *testing.T) {
	plain := gunzip(t, edge)
	for name, path := range map[string]string{
		"whole": edge, "cut off": writeFile(t, "cut.pcapng", string(plain[:len(plain)-len(plain)/3-1])),
	} {
		read := func(flags ...string) (string, metrics.Ledger) {
			t.Helper()
			file := filepath.Join(t.TempDir(), "ledger.json")
			out, _, err := invoke(t, append([]string{"read", "--ledger", file, path}, flags...)...)
			if (err != nil) != (name == "cut off") {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var led metrics.Ledger
			if err := json.Unmarshal(text, &led); err != nil {
				t.Fatal(err)
			}
			if led.Unaccounted != 0 {
				t.Errorf("%s: %d unaccounted for", name, led.Unaccounted)
			}
			return out, led
		}
		left, before := read()
		ended, after := read("--close")
		if before.Sessions.Active == 0 || after.Sessions.Active != 0 || after.Sessions.Closed != after.Sessions.Created {
			t.Errorf("%s: sessions %+v, with --close %+v", name, before.Sessions, after.Sessions)
		}
		was := strings.Count(left, "\n")
		more, ok := strings.CutPrefix(ended, left)
		if !ok || strings.Contains(left, `reason="unset"`) {
			t.Fatalf("%s: --close changes the %d lines before the end", name, was)
		}
		unset := 0
		for line := range strings.Lines(more) {
			if tag(line) != "RT_FLOW_SESSION_CLOSE" {
				t.Errorf("%s: at the end %s", name, line)
			}
			if strings.Contains(line, `reason="unset"`) {
				unset++
			}
		}
		if unset == 0 {
			t.Errorf("%s: no session was open:\n%s", name, more)
		}
		again, _ := read("--close")
		if again != ended {
			t.Errorf("%s: other bytes the second time", name)
		}
	}
}
