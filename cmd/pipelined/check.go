package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/pipeline"
)

func newCheck() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find every mistake in a configuration, and say what pipeline it is",
		Long: `check reads the configuration and prints every mistake in it with file, line, column and the nearest valid spelling. It
touches no device and no destination. The exit status is 1 if there is a mistake; otherwise check prints what the
pipeline is.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, p, err := plan(cmd.ErrOrStderr(), path, true, pipeline.Options{})
			if err != nil {
				return err
			}
			if err := p.Describe(cmd.OutOrStdout()); err != nil {
				return fmt.Errorf("standard output: %w", err)
			}
			return nil
		},
	}
	configFlag(cmd, &path)
	return cmd
}
