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
