// Package registry maps the names in the configuration to what is compiled in.
//
// What lives here: the registry and its errors. What never may: a list of concrete plugins; that is one file of
// cmd/pipelined. A registry is built once and passed around; tests build tiny ones.
package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk"
)

// Registry holds the plugins of a program by kind and name. The zero value is not usable; see New.
type Registry struct {
	Sources map[string]source.Plugin
	Hooks   map[string]hook.Plugin
	Sinks   map[string]sdk.SinkPlugin
}

// New builds a registry. Two plugins of one kind and name, or one without a name or constructor, are errors.
func New(sources []source.Plugin, hooks []hook.Plugin, sinks []sdk.SinkPlugin) (*Registry, error) {
	r := &Registry{
		Sources: make(map[string]source.Plugin),
		Hooks:   make(map[string]hook.Plugin),
		Sinks:   make(map[string]sdk.SinkPlugin),
	}
	var errs []error
	for _, p := range sources {
		errs = append(errs, add(r.Sources, "source", p.Name, p, p.New != nil))
	}
	for _, p := range hooks {
		errs = append(errs, add(r.Hooks, "hook", p.Name, p, p.New != nil))
	}
	for _, p := range sinks {
		errs = append(errs, add(r.Sinks, "sink", p.Name, p, p.New != nil))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

func add[P any](to map[string]P, kind, name string, p P, complete bool) error {
	if name == "" || !complete {
		return fmt.Errorf("registry: %s plugin %q lacks a name or a constructor", kind, name)
	}
	if _, dup := to[name]; dup {
		return fmt.Errorf("registry: two %s plugins are called %q", kind, name)
	}
	to[name] = p
	return nil
}

// Names returns the names of a map of plugins, sorted.
func Names[P any](plugins map[string]P) []string { return slices.Sorted(maps.Keys(plugins)) }
