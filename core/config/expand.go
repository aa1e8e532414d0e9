package config

import (
	"fmt"
	"os"
	"strings"

	"github.com/rtflow/pipelined/internal/spelling"
)

// expandTable replaces references to environment variables, ${NAME}, in all strings of a table, those of nested tables and
// lists too. $${ stands for ${. Keys are not looked at. A string with a mistake stays as it is.
func (d *document) expandTable(at cursor, table map[string]any) {
	for _, key := range orderOf(at.node, table) {
		table[key] = d.expandValue(at.key(key), table[key])
	}
}

func (d *document) expandValue(at cursor, value any) any {
	switch v := value.(type) {
	case string:
		text, err := expand(v)
		if err != nil {
			d.misread.Add(at.path)
			d.report(at, Error, err.Error())
			return v
		}
		return text
	case map[string]any:
		d.expandTable(at, v)
	case []any:
		for i := range v {
			v[i] = d.expandValue(at.index(i), v[i])
		}
	case []map[string]any:
		for i := range v {
			d.expandTable(at.index(i), v[i])
		}
	}
	return value
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
