package config

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
)

// expand replaces references to environment variables, ${NAME}, in all strings of a document. $${ stands for ${. Keys are not
// looked at. A string with a mistake stays as it is.
func (d *document) expand(root *Section) {
	if !strings.Contains(d.text, "${") && !strings.Contains(d.text, `\`) {
		return // most documents have no reference, not even one with a character that is written as an escape sequence
	}
	e := expander{root: root.at}
	e.table(root.values)
	slices.SortFunc(e.mistakes, func(a, b expandMistake) int {
		return cmp.Or(cmp.Compare(a.at.offset, b.at.offset), strings.Compare(a.at.path, b.at.path))
	})
	for _, m := range e.mistakes {
		d.misread.Add(m.at.path)
		d.report(m.at, Error, m.err.Error())
	}
}

// expander replaces the references in the values of a table.
type expander struct {
	root     cursor
	path     []keypath.Part // of the value that is looked at
	mistakes []expandMistake
}

type expandMistake struct {
	at  cursor
	err error
}

func (e *expander) table(t map[string]any) {
	e.path = append(e.path, keypath.Part{})
	last := len(e.path) - 1
	for key, value := range t {
		e.path[last].Key = key
		if text, ok := value.(string); ok {
			if expanded := e.text(text); expanded != text {
				t[key] = expanded
			}
		} else {
			e.value(value)
		}
	}
	e.path = e.path[:last]
}

// value replaces the references in what a table or an array holds.
func (e *expander) value(value any) {
	if t, ok := value.(map[string]any); ok {
		e.table(t)
		return
	}
	e.path = append(e.path, keypath.Part{Element: true})
	last := len(e.path) - 1
	switch v := value.(type) {
	case []any:
		for i := range v {
			e.path[last].Index = i
			if text, ok := v[i].(string); ok {
				v[i] = e.text(text)
			} else {
				e.value(v[i])
			}
		}
	case []map[string]any:
		for i := range v {
			e.path[last].Index = i
			e.table(v[i])
		}
	}
	e.path = e.path[:last]
}

func (e *expander) text(text string) string {
	expanded, err := expand(text)
	if err != nil {
		e.mistakes = append(e.mistakes, expandMistake{e.root.walk(e.path), err})
		return text
	}
	return expanded
}

// expand replaces the references in a text.
func expand(text string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String(), nil
		}
		if escaped, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(escaped + "${")
			text = rest
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || !isVariable(name) {
			return "", fmt.Errorf("${ begins the name of an environment variable, and what follows is none: write ${NAME}, or $${ for the characters themselves")
		}
		value, err := variable(name)
		if err != nil {
			return "", err
		}
		b.WriteString(before + value)
		text = after
	}
}

// isVariable reports whether a text is the name of an environment variable, as shells write it.
func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// variable returns the value of an environment variable. HOSTNAME, which shells keep to themselves, is the host's name if it
// is not set.
func variable(name string) (string, error) {
	if value, ok := os.LookupEnv(name); ok {
		return value, nil
	}
	if name == "HOSTNAME" {
		return os.Hostname()
	}
	return "", fmt.Errorf("the environment variable %s is not set; write $${ for the characters ${", spelling.Shorten(name))
}
