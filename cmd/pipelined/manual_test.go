package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra/doc"
)

var manualDir = flag.String("manual", "", "directory for the man pages that TestManual makes, an existing one")

// manual returns the man pages by name: one for each command, made of its help, and pipeline.toml(5), made of the configuration reference.
func manual(t *testing.T) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	never := time.Time{}
	root := newRoot()
	root.DisableAutoGenTag = true
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "pipelined", Manual: "pipelined", Date: &never}, dir); err != nil {
		t.Fatal(err)
	}
	pages := make(map[string][]byte)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		pages[f.Name()] = bytes.Replace(text, []byte(`"Jan 0001"`), []byte(`""`), 1) // else they change by the month
	}
	reference, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(reference), "\n")
	head := "# PIPELINE.TOML 5 \"\" \"pipelined\" \"pipelined\"\n\n# NAME\n\npipeline.toml - configuration of pipelined\n\n# DESCRIPTION\n"
	pages["pipeline.toml.5"] = md2man.Render([]byte(head + forMan(body)))
	return pages
}

var (
	link  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	block = regexp.MustCompile("(?m)^```[a-z]+ [a-z]+$")
)

// forMan leaves out of a page what a man page has no use for: links, and what stands behind the language of a code block.
func forMan(text string) string {
	return block.ReplaceAllStringFunc(link.ReplaceAllString(text, "$1"), func(s string) string { s, _, _ = strings.Cut(s, " "); return s })
}

// TestManual makes the man pages, in the directory that -manual names. They are not stored, so that they cannot differ from the program.
func TestManual(t *testing.T) {
	pages := manual(t)
	for _, cmd := range newRoot().Commands() {
		if cmd.Name() == "help" {
			continue // it prints what the pages say
		}
		name := "pipelined-" + cmd.Name() + ".1"
		if !bytes.Contains(pages[name], []byte(".SH SYNOPSIS")) || !bytes.Contains(pages[name], []byte(firstWords(cmd.Short))) {
			t.Errorf("%s: %.300s", name, pages[name])
		}
	}
	reference := string(pages["pipeline.toml.5"])
	for _, key := range []string{"zones_by_route", "per_kind", "session-close", "pipeline.toml.d"} {
		if !strings.Contains(strings.ReplaceAll(reference, "\\", ""), key) {
			t.Errorf("pipeline.toml(5) does not have %s", key)
		}
	}
	if strings.Contains(reference, "](") || strings.Contains(reference, "```") {
		t.Error("pipeline.toml(5) has Markdown left in it")
	}
	for name, text := range pages {
		if bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
			t.Errorf("%s has control characters", name)
		}
		if *manualDir != "" {
			if err := os.WriteFile(filepath.Join(*manualDir, name), text, 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}

// firstWords returns the first words of a text, which no line break splits.
func firstWords(text string) string { return strings.Join(strings.Fields(text)[:2], " ") }
