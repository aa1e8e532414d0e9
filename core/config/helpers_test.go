package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func testdata(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// messages returns the problems as lines, without the file's name.
func messages(p *Problems) []string {
	var lines []string
	for _, q := range p.All() {
		q.File = ""
		lines = append(lines, strings.TrimPrefix(q.String(), ":"))
	}
	return lines
}

// wantProblems compares all problems, each "line:column: key: message".
func wantProblems(t *testing.T, p *Problems, want ...string) {
	t.Helper()
	if diff := gocmp.Diff(want, messages(p)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
