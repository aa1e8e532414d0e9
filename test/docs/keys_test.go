package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every key that a configuration struct takes stands in a code span of its page.
func TestKeysAreDescribed(t *testing.T) {
	pages := map[string][]string{
		"docs/configuration.md": append(pluginFolders(t, "sources/*"),
			"core/config", "core/session", "core/admission", "core/replay", "core/zone"),
		"docs/plugins.md":              {"internal/pluginhost", "internal/process"},
		"sinks/nats/README.md":         {"internal/options"},
		"sinks/kafka/README.md":        {"internal/options"},
		"plugins/policydeny/README.md": {"core/application"},
	}
	for _, folder := range pluginFolders(t, "plugins/*", "sinks/*") {
		pages[folder+"/README.md"] = append(pages[folder+"/README.md"], folder)
	}
	for page, folders := range pages {
		described := codeWords(onePage(t, page).prose)
		for _, folder := range folders {
			keys := tomlKeys(t, folder)
			if len(keys) == 0 {
				t.Errorf("%s has no keys: does the test look in the right place?", folder)
			}
			for _, key := range keys {
				if !described[key] && !described[strings.TrimSuffix(key, "-except")] { // the twins are described as such
					t.Errorf("%s does not describe %q of %s", page, key, folder)
				}
			}
		}
	}
}

// pluginFolders returns the folders of plugins that match the patterns, such as "sinks/file".
func pluginFolders(t *testing.T, patterns ...string) (folders []string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(root + pattern + "/plugin.go")
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d plugins, %v", pattern, len(found), err)
		}
		for _, path := range found {
			folders = append(folders, strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), root))
		}
	}
	return folders
}

// Every plugin has a folder of the same look, and the README links its page.
func TestPluginFolders(t *testing.T) {
	readme := onePage(t, "README.md").prose
	for _, folder := range pluginFolders(t, "plugins/*", "sinks/*", "sources/*") {
		for _, file := range []string{"doc.go", "sample*.toml", "README.md", "*_test.go"} {
			if found, err := filepath.Glob(root + folder + "/" + file); err != nil || len(found) == 0 {
				t.Errorf("%s has no %s (%v)", folder, file, err)
			}
		}
		if !strings.Contains(readme, "("+folder+"/README.md)") {
			t.Errorf("README.md does not link %s/README.md", folder)
		}
	}
}

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	word     = regexp.MustCompile(`[A-Za-z0-9_-]+`)
)

// codeWords returns the words in the code spans of a text.
func codeWords(text string) map[string]bool {
	words := make(map[string]bool)
	for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
		for _, w := range word.FindAllString(span[1], -1) {
			words[w] = true
		}
	}
	return words
}

// tomlKeys returns the names in the toml tags of a folder's structs, without the unlisted ones.
func tomlKeys(t *testing.T, folder string) (keys []string) {
	t.Helper()
	files, err := filepath.Glob(root + folder + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil {
				return true
			}
			tag, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				t.Fatal(err)
			}
			key, option, _ := strings.Cut(reflect.StructTag(tag).Get("toml"), ",")
			if key != "" && key != "-" && option != "unlisted" {
				keys = append(keys, key)
			}
			return true
		})
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
