package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/pipeline"
)

func newCheck() *cobra.Command {
	var path string
	var plugins bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find every mistake in a configuration, and say what pipeline it is",
		Long: `check reads the configuration and prints every mistake in it with file, line, column and the nearest valid spelling. It
touches no device and no destination. The exit status is 1 if there is a mistake; otherwise check prints what the
pipeline is.

A sink that is an executable of its own is not started: of it check sees whether the file is there and may be run, its
checksum and how it is to run. With --plugins it is started, and looks at its own table.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := plan(cmd.Context(), cmd.ErrOrStderr(), how{path: path, daemon: true, ask: plugins}, pipeline.Options{Log: newLogger(cmd.ErrOrStderr(), slog.LevelWarn)})
			if err != nil {
				return err
			}
			if !plugins {
				for _, name := range p.host.Unchecked() {
					fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: sink %s: the options of the plugin itself are checked with --plugins only\n", name)
				}
			}
			if err := errors.Join(p.down, p.host.Close()); err != nil {
				return err
			}
			if err := p.Describe(forPeople(cmd)); err != nil {
				return fmt.Errorf("standard output: %w", err)
			}
			return nil
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&plugins, "plugins", false, "also start the executables of plugins, and let them check their own options")
	return cmd
}
