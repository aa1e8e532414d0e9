package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/pipeline"
)

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "pipeline.toml", "configuration file")
	if err := cmd.MarkFlagFilename("config", "toml"); err != nil {
		panic(err) // the flag was added in the line above
	}
}

// plan loads a configuration and plans its pipeline. Its problems are written to w; with an error among them plan
// returns errReported.
func plan(w io.Writer, path string, daemon bool, o pipeline.Options) (*config.File, *pipeline.Plan, error) {
	registry, err := builtins()
	if err != nil {
		return nil, nil, err
	}
	o.Registry = registry
	if o.Hostname == "" {
		if o.Hostname, err = os.Hostname(); err != nil {
			return nil, nil, fmt.Errorf("the host's name: %w", err)
		}
	}
	file, problems := config.Load(path)
	if daemon {
		file.RequireRun(problems)
	}
	p := pipeline.NewPlan(file, problems, o)
	for _, problem := range problems.All() {
		fmt.Fprintln(w, problem)
	}
	if problems.Err() != nil {
		return nil, nil, errReported
	}
	return file, p, nil
}
