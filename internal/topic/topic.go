// Package topic makes the name of a subject, topic or channel from a template and a record.
//
// The template "events.{kind}.{zone}" makes the name "events.policy-deny.untrust". Names are cached, so that one costs a
// lookup per record. Which characters a name may have depends on the protocol: a sink passes its own function that escapes
// the others.
package topic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/sdk/event"
)

// Unknown stands for the zone of a record that has none. No zone has this name.
const Unknown = "unknown"

// maxCached bounds the names that are remembered for one configuration generation.
const maxCached = 4096

// Template makes names. It is for one goroutine.
type Template struct {
	parts  []part
	escape func(dst []byte, value string) []byte
	names  *event.Names // that the cache was filled with
	cache  map[key]string
	buf    []byte
	uses   [numFields]bool
}

// part is a piece of text, or a field of the record.
type part struct {
	text  string
	field field
}

type field uint8

const (
	literal field = iota
	kind
	zone
	egress
	numFields
)

var fieldNames = [numFields]string{kind: "kind", zone: "zone", egress: "egress-zone"}

// key is what of a record a name depends on.
type key struct {
	kind    event.Kind
	in, out uint16
}

// Parse reads a template. {kind} is the event's kind, {zone} its ingress zone, {egress-zone} the egress zone; constants are
// further placeholders, without their braces, and their values. escape appends the value of a placeholder in a way that the
// protocol takes as part of a name, and appends at least one byte.
func Parse(text string, constants map[string]string, escape func(dst []byte, value string) []byte) (*Template, error) {
	t := &Template{escape: escape, cache: make(map[key]string)}
	for text != "" {
		before, rest, open := strings.Cut(text, "{")
		if strings.Contains(before, "}") {
			return nil, fmt.Errorf("a } without its { in %q", text)
		}
		t.literal(before)
		if !open {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, fmt.Errorf("a { without its } in %q", text)
		}
		f := field(max(slices.Index(fieldNames[:], name), 0))
		value, constant := constants[name]
		switch {
		case constant:
			t.literal(string(escape(nil, value)))
		case f != literal:
			t.parts = append(t.parts, part{field: f})
			t.uses[f] = true
		default:
			return nil, fmt.Errorf("there is no placeholder {%s}; known are {%s}", name, strings.Join(known(constants), "}, {"))
		}
		text = after
	}
	return t, nil
}

// known lists the placeholders.
func known(constants map[string]string) []string {
	list := slices.Clone(fieldNames[kind:])
	for name := range constants {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// literal appends text to the last part if that is text too.
func (t *Template) literal(text string) {
	if last := len(t.parts) - 1; last >= 0 && t.parts[last].field == literal {
		t.parts[last].text += text
	} else if text != "" {
		t.parts = append(t.parts, part{text: text})
	}
}

// Pattern returns the template with wild in place of each field of the record: what all of its names look like.
func (t *Template) Pattern(wild string) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.field == literal {
			b.WriteString(p.text)
		} else {
			b.WriteString(wild)
		}
	}
	return b.String()
}

// Of returns the name for a record whose ids n resolves; n may be nil. The same record has the same name always.
func (t *Template) Of(r *event.Record, n *event.Names) string {
	if n != t.names || len(t.cache) >= maxCached {
		clear(t.cache)
		t.names = n
	}
	var k key
	if t.uses[kind] {
		k.kind = r.Kind()
	}
	if t.uses[zone] {
		k.in = r.InZone()
	}
	if t.uses[egress] {
		k.out = egressOf(r)
	}
	name, ok := t.cache[k]
	if !ok {
		name = t.make(k)
		t.cache[k] = name
	}
	return name
}

// egressOf returns the egress zone; a loss record has counts in its place.
func egressOf(r *event.Record) uint16 {
	if r.Kind() == event.Loss {
		return 0
	}
	return r.OutZone()
}

func (t *Template) make(k key) string {
	t.buf = t.buf[:0]
	for _, p := range t.parts {
		switch p.field {
		case literal:
			t.buf = append(t.buf, p.text...)
		case kind:
			t.buf = t.escape(t.buf, k.kind.String())
		case zone:
			t.buf = t.escape(t.buf, t.zone(k.in))
		case egress:
			t.buf = t.escape(t.buf, t.zone(k.out))
		}
	}
	return string(t.buf)
}

func (t *Template) zone(id uint16) string {
	if t.names != nil {
		if name := t.names.Zone(id); name != "" {
			return name
		}
	}
	return Unknown
}
