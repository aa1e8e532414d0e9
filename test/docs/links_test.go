package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Every relative link leads to a file, and its anchor to a heading there.
func TestLinks(t *testing.T) {
	for _, p := range pages(t, "docs/*.md", "README.md", "plugins/*/README.md", "sinks/*/README.md", "sources/*/README.md", "examples/*/README.md",
		"testdata/README.md") {
		for _, m := range link.FindAllStringSubmatch(p.prose, -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			to := p
			if target != "" {
				file := filepath.Join(filepath.Dir(p.name), target)
				if _, err := os.Stat(root + file); err != nil {
					t.Errorf("%s: the link %s leads nowhere", p.name, m[1])
					continue
				}
				if fragment != "" {
					to = onePage(t, file)
				}
			}
			if fragment != "" && !to.headings[fragment] {
				t.Errorf("%s: %s has no heading for %s", p.name, to.name, m[1])
			}
		}
	}
}

func TestAnchor(t *testing.T) {
	for heading, want := range map[string]string{
		"The LOSS line":                "the-loss-line",
		"The egress zone is N/A":       "the-egress-zone-is-na",
		"over_budget or evicted grows": "over_budget-or-evicted-grows",
		"What a tap can, and cannot":   "what-a-tap-can-and-cannot",
	} {
		if got := anchor(heading); got != want {
			t.Errorf("anchor(%q) = %q, want %q", heading, got, want)
		}
	}
}
