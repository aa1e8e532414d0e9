package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/rtflow/pipelined/internal/logverify"
)

func gzipOf(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // into memory
	_ = w.Close()
	return b.Bytes()
}

func zstdOf(text string) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

// TestReadPackedFrames reads an archive of frames as a file sink leaves it.
func TestReadPackedFrames(t *testing.T) {
	frames, lines := mustRun(t, "read", "--format", "frames", edge), mustRun(t, "read", edge)
	for _, pack := range []func(string) []byte{gzipOf, zstdOf} {
		if got := mustRun(t, "read", writeFile(t, "events.frames.packed", string(pack(frames)))); got != lines {
			t.Errorf("%d bytes of lines, want %d", len(got), len(lines))
		}
	}
}

// TestVerify reads what read prints, and then the same with mistakes in it.
func TestVerify(t *testing.T) {
	for _, profile := range logverify.Profiles() {
		lines := mustRun(t, "read", "--profile", profile, edge)
		path := writeFile(t, "events.log", lines)
		out := mustRun(t, "verify", "--release", profile, path)
		if !strings.HasSuffix(out, fmt.Sprintf("%d messages, 0 deviate\n", strings.Count(lines, "\n"))) || !strings.Contains(out, "       88 RT_FLOW_SESSION_CREATE\n") {
			t.Errorf("%s:\n%s", profile, out)
		}
	}
	lines := mustRun(t, "read", edge)
	for _, pack := range []func(string) []byte{gzipOf, zstdOf} {
		out := mustRun(t, "verify", writeFile(t, "events.log.packed", string(pack(lines))))
		if !strings.HasSuffix(out, fmt.Sprintf("%d messages, 0 deviate\n", strings.Count(lines, "\n"))) {
			t.Errorf("compressed:\n%s", out)
		}
	}
	broken := strings.Replace(lines, `protocol-id="6"`, `protocol-id="six"`, 1)
	path := writeFile(t, "events.log", broken)
	out, _, err := invoke(t, "verify", path)
	if !errors.Is(err, errReported) || !strings.Contains(out, path+":1:") || !strings.Contains(out, fmt.Sprintf("%d messages, 1 deviate\n", strings.Count(lines, "\n"))) {
		t.Errorf("%v\n%s", err, out)
	}
	path = writeFile(t, "events.log", "12 <14>1 cut")
	if _, _, err := invoke(t, "verify", path); err == nil || !strings.Contains(err.Error(), "message 1: the stream ends") {
		t.Errorf("%v", err)
	}
	var use *usageError
	_, _, err = invoke(t, "verify", "--release", "23.4R1", path)
	if !errors.As(err, &use) || !strings.Contains(err.Error(), `did you mean "junos-22-24"?`) {
		t.Errorf("%v", err)
	}
	if _, _, err := invoke(t, "verify", path+".not"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestVerifyJSON says of lines of JSON once that they are no syslog.
func TestVerifyJSON(t *testing.T) {
	lines := mustRun(t, "read", "-f", "json", edge)
	path := writeFile(t, "b.json", lines)
	out, _, err := invoke(t, "verify", path)
	n := strings.Count(lines, "\n")
	want := fmt.Sprintf("%s:1:1: JSON, and not syslog: verify reads the messages of the formats rfc5424 and rfc3164, and JSON behind a syslog header. "+
		"Further lines of JSON are only counted\n%9d lines of JSON, not checked\n%d messages, %d deviate\n", path, n, n, n)
	if out != want || !errors.Is(err, errReported) {
		t.Errorf("%v:\n%s\nwant\n%s", err, out, want)
	}
	out, _, err = invoke(t, "verify", writeFile(t, "broken.json", "{\"a\": 1\n"))
	if !strings.Contains(out, "not RFC 5424") || err == nil {
		t.Errorf("what only begins as JSON: %v: %s", err, out)
	}
}
