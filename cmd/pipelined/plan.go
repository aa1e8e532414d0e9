package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/pluginhost"
)

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "pipeline.toml", "configuration file")
	if err := cmd.MarkFlagFilename("config", "toml"); err != nil {
		panic(err) // the flag was added in the line above
	}
}

// planned is the plan of a configuration.
type planned struct {
	*plan.Plan

	problems *config.Problems
	host     *pluginhost.Host // runs the plugins; the caller closes it
	down     error            // plugins that were to be started and did not start
}

// planOptions says what loadPlan does with a configuration.
type planOptions struct {
	path string
	text []byte // the configuration itself, instead of what is at path; nil is none

	daemon        bool // the configuration must have what only the daemon needs
	daemonIfSinks bool // the same, if it has a source or a sink
	startPlugins  bool // plugins are started and check their own tables
	// starts, if set, returns the names of the sinks whose plugins are started: all of the chain if not.
	starts         func(*plan.Plan) []string
	host           *pluginhost.Host // of the plugins; nil: one is made
	pluginPatience time.Duration    // time limit for all plugins together; 0 is none but that of each

	// loaded, if set, is called when the configuration has been read and before plugins are started. Its result is the
	// context of their start.
	loaded func(context.Context) context.Context
}

// loadPlan loads a configuration and plans its pipeline. It writes the problems of the configuration to w; with an error among
// them it returns errReported.
func loadPlan(ctx context.Context, w io.Writer, o planOptions, p plan.Options) (_ *planned, err error) {
	if p.Hostname == "" {
		if p.Hostname, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("the host's name: %w", err)
		}
	}
	load := config.Load
	if o.text != nil {
		load = func(path string) (*config.File, *config.Problems) { return config.LoadText(path, o.text) }
	}
	file, problems := load(o.path)
	if o.daemon || o.daemonIfSinks && len(file.Sources)+len(file.Sinks) > 0 {
		file.RequireRun(problems)
	}
	host, closeHost := o.host, func() error { o.host.Drop(); return nil }
	if host == nil {
		host = pluginhost.New(pluginhost.Options{Log: p.Log, RuntimeDir: file.Service.RuntimeDir, Adopt: true})
		closeHost = host.Close
	}
	if p.Registry, err = everything(host, file.Service.PluginDir); err != nil {
		return nil, err
	}
	result := &planned{Plan: plan.New(file, problems, p), problems: problems, host: host}
	if o.startPlugins && problems.Err() == nil {
		if o.loaded != nil {
			ctx = o.loaded(ctx)
		}
		list := names(file.Pipeline.Sinks)
		if o.starts != nil {
			list = o.starts(result.Plan)
		}
		if o.host == nil {
			host.Sweep()
		}
		if o.pluginPatience > 0 {
			var cancel func()
			ctx, cancel = context.WithTimeoutCause(ctx, o.pluginPatience, fmt.Errorf("did not start within %v", o.pluginPatience))
			defer cancel()
		}
		result.down = host.Configure(ctx, list)
	}
	for _, problem := range problems.All() {
		fmt.Fprintln(w, problem)
	}
	if problems.Err() != nil {
		return nil, errors.Join(errReported, closeHost())
	}
	return result, nil
}

func names(components []*config.Component) (list []string) {
	for _, c := range components {
		list = append(list, c.Name)
	}
	return list
}
