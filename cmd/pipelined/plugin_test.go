package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPluginNewWithoutRelease writes a module with a build that go.mod cannot name: it needs to be told where the source is.
func TestPluginNewWithoutRelease(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	_, _, err := invoke(t, "plugin", "new", "webhook", "--dir", dir)
	if usage, ok := errors.AsType[*usageError](err); !ok || !strings.Contains(usage.Error(), "--replace DIRECTORY") {
		t.Errorf("without --replace: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("something was written")
	}
	mustRun(t, "plugin", "new", "webhook", "--dir", dir, "--replace", "../..")
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.Contains(string(text), "replace ") {
		t.Errorf("%v: %s", err, text)
	}
}

// TestTestDir makes the directory for sockets of plugins under test where those of the daemon are, and privately where that cannot be.
func TestTestDir(t *testing.T) {
	base := t.TempDir()
	for _, runtime := range []string{base, "/dev/null"} {
		t.Setenv("RUNTIME_DIRECTORY", runtime)
		dir, err := testDir()
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if inside := strings.HasPrefix(dir, base); inside != (runtime == base) {
			t.Errorf("%s with %s", dir, runtime)
		}
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if seen := info.Mode().Perm() & 0o066; seen != 0 || runtime != base && info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", dir, info.Mode())
		}
	}
}
