package pluginkit

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/rtflow/pipelined/internal/pluginhost"
)

//go:embed templates
var templates embed.FS

// goVersion is the language version of a new module.
const goVersion = "1.26"

// Module says what module is written.
type Module struct {
	Name    string // of the plugin: "webhook"
	Dir     string // where; "" is ./pipelined-sink-NAME
	Path    string // of the module; "" is pipelined-sink-NAME
	Version string // of pipelined, as go.mod wants it
	Replace string // a directory with pipelined's source, "" for the published one
}

var pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// New writes the module of a new plugin: one that builds, with a test. It returns the directory, which must not be there yet.
func New(m Module) (dir string, err error) {
	if !pluginName.MatchString(m.Name) {
		return "", fmt.Errorf("%q cannot be the name of a plugin: 1 to 31 lower-case letters, digits and '-', a letter first", m.Name)
	}
	data := struct{ Name, Command, Module, Go, Version, Replace string }{
		Name: m.Name, Command: pluginhost.Prefix + m.Name, Module: m.Path, Go: goVersion, Version: m.Version, Replace: m.Replace,
	}
	if data.Module == "" {
		data.Module = data.Command
	}
	if dir = m.Dir; dir == "" {
		dir = data.Command
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("%s is there already", dir)
		}
		return "", err
	}
	files, err := template.ParseFS(templates, "templates/*.tmpl")
	if err != nil {
		return "", err
	}
	for _, t := range files.Templates() {
		name := strings.TrimSuffix(t.Name(), ".tmpl")
		var text bytes.Buffer
		if err := t.Execute(&text, data); err != nil {
			return "", err
		}
		content := text.Bytes()
		if filepath.Ext(name) == ".go" {
			if content, err = format.Source(content); err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}
