package config

import (
	"reflect"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
)

// Pipeline is the chain of [pipeline]: what runs, in this order.
type Pipeline struct {
	Sources []*Component // default: none
	Hooks   []*Component // default: none; at each call site they run in this order
	Sinks   []*Component // default: none
	// ZonesByRoute says that with live sources an address that is in no prefix of a zone belongs to the zone of the interface that
	// the kernel's route for it points to. Default true.
	ZonesByRoute bool
}

// readPipeline resolves the names of the chain.
func (f *File) readPipeline() {
	var t struct {
		Sources []string `toml:"sources"`
		Hooks   []string `toml:"hooks"`
		Sinks   []string `toml:"sinks"`

		ZonesByRoute bool `toml:"zones_by_route"`
	}
	t.ZonesByRoute = true
	if f.pipeline != nil {
		f.pipeline.Decode(&t)
	}
	f.Pipeline.Sources = f.resolve(sourceFamily(), t.Sources)
	f.Pipeline.Hooks = f.resolve(hookFamily(), t.Hooks)
	f.Pipeline.Sinks = f.resolve(sinkFamily(), t.Sinks)
	f.Pipeline.ZonesByRoute = t.ZonesByRoute
}

// resolve returns the components of these names and warns of those that nobody names. Of a configuration that could not
// be read completely nobody knows which names are missing: then only what is there is resolved.
func (f *File) resolve(of family, names []string) []*Component {
	var chain []*Component
	defined := byName(f.components(of))
	chained := make(map[string]bool)
	mistaken := false
	for i, name := range names {
		key := keypath.Element(of.many, i)
		c := defined[name]
		switch {
		case chained[name]:
			f.pipeline.Errorf(key, "%q is listed twice", spelling.Shorten(name))
		case c != nil:
			chain = append(chain, c)
		case f.Complete(of.many):
			mistaken = true
			f.pipeline.Errorf(key, "there is no %s %q; %s", of.one, spelling.Shorten(name), spelling.Lazy(func() string { return f.advice(of, name) }))
		}
		chained[name] = true
	}
	if mistaken || !f.Complete(of.many) || !f.Complete("pipeline") {
		return chain // what seems forgotten is probably what is misspelled
	}
	for _, c := range f.components(of) {
		if !chained[c.Name] {
			c.Section.Warnf("", "this %s is defined but not in pipeline.%s: it does nothing", of.one, of.many)
		}
	}
	return chain
}

// advice says what a name that is not defined was probably meant to be.
func (f *File) advice(of family, name string) string {
	for _, other := range families() {
		if byName(f.components(other))[name] != nil {
			return "it is a " + other.one
		}
	}
	var names []string
	for _, c := range f.components(of) {
		names = append(names, c.Name)
	}
	return f.pipeline.doc.hint(name, of.many, names)
}

func byName(list []*Component) map[string]*Component {
	m := make(map[string]*Component, len(list))
	for _, c := range list {
		m[c.Name] = c
	}
	return m
}

// components returns all components of a family, in the order of the file.
func (f *File) components(of family) []*Component {
	switch of.many {
	case "sources":
		return f.Sources
	case "hooks":
		return f.Hooks
	}
	return f.Sinks
}

// RequireRun records what the daemon needs beyond a configuration that is right in itself: a source and a sink that are
// chained. A command that reads captures and prints needs neither.
func (f *File) RequireRun(problems *Problems) {
	if !f.Complete("pipeline") {
		return // the chain may stand in what could not be read
	}
	for _, of := range []family{sourceFamily(), sinkFamily()} {
		message := "the daemon needs at least one " + of.one
		if f.pipeline == nil {
			problems.add(Problem{File: f.Files[0], Key: "pipeline." + of.many, Message: message})
		} else if f.pipeline.isEmpty(of.many) {
			f.pipeline.Errorf(of.many, "%s", message)
		}
	}
}

func isEmptyArray(value any) bool { return table.IsArray(value) && reflect.ValueOf(value).Len() == 0 }

// isEmpty reports whether a key is missing or an empty array. A value of a wrong type is neither.
func (s *Section) isEmpty(key string) bool {
	if !s.Has(key) {
		return true
	}
	return isEmptyArray(s.values[key])
}
