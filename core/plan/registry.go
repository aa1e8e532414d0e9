package plan

import (
	"errors"
	"fmt"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk"
)

// Registry holds the plugins of a program by family and name. It is built once by [NewRegistry] and handed to whoever
// plans a pipeline; nothing registers itself.
type Registry struct {
	Sources map[string]source.Plugin
	Hooks   map[string]hook.Plugin
	Sinks   map[string]sdk.SinkPlugin
}

// NewRegistry builds a registry. Two plugins of one family and name, or one without a name or a Configure function, are
// errors.
func NewRegistry(sources []source.Plugin, hooks []hook.Plugin, sinks []sdk.SinkPlugin) (*Registry, error) {
	r := &Registry{}
	var errs [3]error
	r.Sources, errs[0] = byName("source", sources)
	r.Hooks, errs[1] = byName("hook", hooks)
	r.Sinks, errs[2] = byName("sink", sinks)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	return r, nil
}

// byName indexes the plugins of one family.
func byName[E, C any](family string, plugins []sdk.Plugin[E, C]) (map[string]sdk.Plugin[E, C], error) {
	index := make(map[string]sdk.Plugin[E, C], len(plugins))
	var errs []error
	for _, p := range plugins {
		switch _, taken := index[p.Name]; {
		case p.Name == "" || p.Configure == nil:
			errs = append(errs, fmt.Errorf("plan: %s plugin %q lacks a name or a Configure function", family, p.Name))
		case taken:
			errs = append(errs, fmt.Errorf("plan: two %s plugins are called %q", family, p.Name))
		default:
			index[p.Name] = p
		}
	}
	return index, errors.Join(errs...)
}
