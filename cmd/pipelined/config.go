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
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/internal/pluginhost"
)

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "pipeline.toml", "configuration file")
	if err := cmd.MarkFlagFilename("config", "toml"); err != nil {
		panic(err) // the flag was added in the line above
	}
}

// planned is a configuration and its pipeline.
type planned struct {
	*pipeline.Plan

	file *config.File
	host *pluginhost.Host // of the plugins in it; to be closed
	down error            // plugins that were asked and did not start
}

// how says how a configuration is planned.
type how struct {
	path   string
	text   []byte // instead of what is at path; nil: none
	daemon bool   // with what only the daemon needs
	guess  bool   // the same, unless the file has no source and no sink at all
	ask    bool   // plugins are started and look at their own tables

	// loaded, if set, is called when the configuration has been read, before plugins are started; they wait for its context.
	loaded func(context.Context) context.Context

	patience time.Duration // for how long they are asked, all together; 0: as long as each may take
}

// plan loads a configuration and plans its pipeline. Its problems are written to w; with an error among them plan
// returns errReported.
func plan(ctx context.Context, w io.Writer, how how, o pipeline.Options) (_ *planned, err error) {
	if o.Hostname == "" {
		if o.Hostname, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("the host's name: %w", err)
		}
	}
	load := config.Load
	if how.text != nil {
		load = func(path string) (*config.File, *config.Problems) { return config.LoadText(path, how.text) }
	}
	file, problems := load(how.path)
	if how.daemon || how.guess && len(file.Sources)+len(file.Sinks) > 0 {
		file.RequireRun(problems)
	}
	host := pluginhost.New(pluginhost.Options{Log: o.Log, RuntimeDir: file.Service.RuntimeDir, Adopt: true})
	if o.Registry, err = everything(host, file.Service.PluginDir); err != nil {
		return nil, err
	}
	p := &planned{Plan: pipeline.NewPlan(file, problems, o), file: file, host: host}
	if how.ask && problems.Err() == nil {
		if how.loaded != nil {
			ctx = how.loaded(ctx)
		}
		host.Sweep()
		if how.patience > 0 {
			var cancel func()
			ctx, cancel = context.WithTimeoutCause(ctx, how.patience, fmt.Errorf("did not start within %v", how.patience))
			defer cancel()
		}
		p.down = host.Configure(ctx, names(file.Pipeline.Sinks))
	}
	for _, problem := range problems.All() {
		fmt.Fprintln(w, problem)
	}
	if problems.Err() != nil {
		return nil, errors.Join(errReported, host.Close())
	}
	return p, nil
}

func names(components []*config.Component) (list []string) {
	for _, c := range components {
		list = append(list, c.Name)
	}
	return list
}
