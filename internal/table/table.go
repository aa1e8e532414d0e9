package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Problem is a mistake at a key of a table.
type Problem struct {
	Key     string // "brokers[1].port", "" for the table itself
	Message string
	Warning bool // allowed, and probably not meant
}

func (p Problem) String() string {
	s := p.Message
	if p.Key != "" {
		s = p.Key + ": " + s
	}
	if p.Warning {
		s = "warning: " + s
	}
	return s
}

// Table is a plugin's configuration outside of the daemon. It is an sdk.Config. Not safe for concurrent use.
type Table struct {
	name     string
	tree     map[string]any
	problems []Problem
	misread  Misread
}

// New returns the configuration of the component of that name.
func New(name string, tree map[string]any) *Table {
	return &Table{name: name, tree: tree, misread: make(Misread)}
}

// Parse returns the configuration that is a JSON object; an empty text is an empty one.
func Parse(name, text string) (*Table, error) {
	tree := make(map[string]any)
	if text == "" {
		return New(name, tree), nil
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("table: something follows the JSON object")
	}
	return New(name, numbers(tree).(map[string]any)), nil
}

// numbers makes an int64 of every number that is one, and a float64 of the others.
func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String() // no number that a computer holds
		}
		return f
	case map[string]any:
		for key := range v {
			v[key] = numbers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return value
}

// Decode is sdk.Config's.
func (t *Table) Decode(into any) bool {
	d := Decoder{Report: func(key, message string) {
		t.misread.Add(key)
		t.add(Problem{Key: key, Message: message})
	}}
	return d.Decode(t.tree, into)
}

// Errorf is sdk.Config's.
func (t *Table) Errorf(key, format string, args ...any) {
	if t.misread.Follows(key) {
		return
	}
	t.add(Problem{Key: key, Message: fmt.Sprintf(format, args...)})
}

// Warnf is sdk.Config's.
func (t *Table) Warnf(key, format string, args ...any) {
	if t.misread.Follows(key) {
		return
	}
	t.add(Problem{Key: key, Message: fmt.Sprintf(format, args...), Warning: true})
}

// Name is sdk.Config's.
func (t *Table) Name() string { return t.name }

func (t *Table) add(p Problem) { t.problems = append(t.problems, p) }

// Problems returns what was recorded, warnings too.
func (t *Table) Problems() []Problem { return slices.Clone(t.problems) }

// Err returns nil if no mistake was recorded (there may be warnings), otherwise all of them.
func (t *Table) Err() error {
	var errs []error
	for _, p := range t.problems {
		if !p.Warning {
			errs = append(errs, errors.New(p.String()))
		}
	}
	return errors.Join(errs...)
}
