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
