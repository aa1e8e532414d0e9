package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/spool"
)

// TestSpoolOfACapture carries a capture to a destination that is down, looks at what the spool has kept, damages it, and carries the capture
// again to one that is there, which gets both.
func TestSpoolOfACapture(t *testing.T) {
	dir := t.TempDir()
	kept, out := filepath.Join(dir, "spool"), filepath.Join(dir, "out.log")
	config := func(sink string) string {
		return writeFile(t, "p.toml", fmt.Sprintf(`
[sources.c]
plugin = "pcap"
file = %q
[zones.all]
prefixes = ["0.0.0.0/0", "::/0"]
[sinks.out]
%s
spool = { size = "16MiB", path = %q, min_free = 0 }
[service]
drain = "5s"
metrics = ""
[pipeline]
sources = ["c"]
sinks = ["out"]
`, absolute(t, edge), sink, kept))
	}
	mustRun(t, "run", "--config", config("plugin = \"syslog\"\naddress = \"tcp://127.0.0.1:1\""))
	lines := mustRun(t, "spool", "cat", kept)
	n := strings.Count(lines, "\n")
	if n < 100 {
		t.Fatalf("the spool has %d records", n)
	}
	if list := mustRun(t, "spool", "ls", kept); !strings.Contains(list, fmt.Sprintf("\n%d records are not acknowledged", n)) {
		t.Errorf("%d records are printed, and\n%s", n, list)
	}
	if all := mustRun(t, "spool", "verify", kept); all != fmt.Sprintf("%d records can be read\n", n) {
		t.Errorf("%d records are printed, and %s", n, all)
	}
	segments, err := filepath.Glob(filepath.Join(kept, "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v: %v", segments, err)
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(segments[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, _, err := invoke(t, "spool", "verify", kept); err == nil || !strings.Contains(text, filepath.Base(segments[0])) {
		t.Errorf("of a damaged spool: %v\n%s", err, text)
	}

	mustRun(t, "run", "--config", config(fmt.Sprintf("plugin = \"file\"\npath = %q", out)))
	if left := mustRun(t, "spool", "cat", kept); left != "" {
		t.Errorf("what is delivered is still there:\n%s", left)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	first, second, both := strings.Cut(string(got), "reason=damaged")
	if !both {
		t.Fatalf("the damage is not announced:\n%.2000s", got)
	}
	if !strings.HasPrefix(lines, first[:strings.LastIndexByte(first, '\n')+1]) {
		t.Error("what was in the spool is not what comes first")
	}
	// The second run has numbers of its own, and the same events.
	_, events, _ := strings.Cut(second, "\n")
	if tail := withoutHeads(events); !strings.HasSuffix(tail, withoutHeads(lines)) {
		t.Errorf("what the second run has delivered is not what the first had: %d bytes, %d", len(tail), len(lines))
	}
}

// withoutHeads returns lines without what stands before the names of their messages.
func withoutHeads(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString(line[max(strings.Index(line, "RT_FLOW"), 0):])
	}
	return b.String()
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSpoolElsewhere names a directory that is not the one of a spool: none of the commands says that nothing waits there, and repair
// makes none.
func TestSpoolElsewhere(t *testing.T) {
	above := t.TempDir()
	kept := filepath.Join(above, "siem")
	s, err := spool.Open(spool.Config{Options: spool.Options{Size: spool.MinSize, Path: kept}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "audit.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	empty, fresh := t.TempDir(), filepath.Join(t.TempDir(), "fresh")
	if s, err = spool.Open(spool.Config{Options: spool.Options{Size: spool.MinSize, Path: fresh}, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for _, command := range []string{"ls", "cat", "verify"} {
		mustRun(t, "spool", command, fresh) // a daemon has it, and nothing was written to it
	}
	missing := filepath.Join(above, "sime")
	for _, command := range []string{"ls", "cat", "verify", "repair"} {
		for dir, want := range map[string]string{
			above: above + ` holds no spool; in it there is one in "siem"`, other: other + " holds no spool", missing: "no such file or directory",
			empty: empty + " is empty: it is no spool",
		} {
			if out, _, err := invoke(t, "spool", command, dir); err == nil || !strings.HasSuffix(err.Error(), want) || out != "" {
				t.Errorf("%s %s: %v, %q, want an error that says %q", command, dir, err, out, want)
			}
		}
		if _, err := os.Stat(missing); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s has made a directory: %v", command, err)
		}
		mustRun(t, "spool", command, kept)
	}
}
