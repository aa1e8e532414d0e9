package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../"

// page is one Markdown file.
type page struct {
	name     string // relative to the root
	text     string
	prose    string // the text without code blocks
	blocks   []block
	headings map[string]bool // anchors
}

// block is a fenced code block.
type block struct {
	line int
	lang string
	text string
}

// pages returns the Markdown files that the patterns name, at least one unless optional.
func pages(t *testing.T, patterns ...string) (list []*page) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, parse(t, name, string(data)))
		}
	}
	if len(list) == 0 {
		t.Fatalf("no page matches %v", patterns)
	}
	return list
}

// onePage returns a page that must be there.
func onePage(t *testing.T, name string) *page {
	t.Helper()
	return pages(t, name)[0]
}

func parse(t *testing.T, name, text string) *page {
	t.Helper()
	p := &page{name: name, text: text, headings: make(map[string]bool)}
	var prose, code strings.Builder
	var open *block
	for i, line := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimLeft(line, " "), "```") // indented in a list
		switch {
		case isFence && open == nil:
			open = &block{line: i + 1, lang: fence}
			code.Reset()
		case isFence:
			open.text = code.String()
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			code.WriteString(line + "\n")
		default:
			prose.WriteString(line + "\n")
			if strings.HasPrefix(line, "#") {
				p.headings[anchor(strings.TrimLeft(line, "# "))] = true
			}
		}
	}
	if open != nil {
		t.Errorf("%s:%d: the code block does not end", name, open.line)
	}
	p.prose = prose.String()
	return p
}

// unslugged is what GitHub leaves out of the anchor of a heading.
var unslugged = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)

// anchor returns the anchor of a heading, as GitHub makes it.
func anchor(heading string) string {
	return strings.ReplaceAll(unslugged.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}
