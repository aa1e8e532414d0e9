package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	pinned   = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
)

// Every test that design.md credits with an invariant exists.
func TestPinnedTestsExist(t *testing.T) {
	exists := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			exists[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := pinned.FindAllString(onePage(t, "docs/design.md").prose, -1)
	if len(named) < 20 {
		t.Fatalf("design.md names %d tests: does the test read the right page?", len(named))
	}
	for _, name := range named {
		if !exists[name] {
			t.Errorf("design.md names %s, which does not exist", name)
		}
	}
}

var span = regexp.MustCompile("`([^`]+)`")

// Every file and folder in the table "Where to look" of design.md exists. A file without a folder is in the folder before it.
func TestPlacesExist(t *testing.T) {
	_, table, found := strings.Cut(onePage(t, "docs/design.md").prose, "## Where to look\n")
	if !found {
		t.Fatal("there is no table")
	}
	places := 0
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) < 3 {
			continue
		}
		folder := ""
		for _, m := range span.FindAllStringSubmatch(cells[2], -1) {
			path := m[1]
			if !strings.Contains(path, "/") {
				path = folder + "/" + path
			}
			st, err := os.Stat(root + path)
			if err != nil {
				t.Errorf("%s: %v", strings.TrimSpace(cells[1]), err)
				continue
			}
			if folder = path; !st.IsDir() {
				folder = filepath.ToSlash(filepath.Dir(path))
			}
			places++
		}
	}
	if places < 20 {
		t.Errorf("the table names %d places: does the test read it?", places)
	}
}
