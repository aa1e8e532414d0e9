package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/spelling"
)

// purposes are the commands that a configuration may be for.
var purposes = []string{"run", "read"}

func newCheck() *cobra.Command {
	var path, purpose string
	var plugins, tests bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find every mistake in a configuration, and say what pipeline it is",
		Long: `check reads the configuration and prints every mistake in it with file, line, column and the nearest valid spelling. It
touches no device and no destination. The exit status is 1 if there is a mistake; otherwise check prints what the
pipeline is, and at the end "ok" and what it holds.

Of a live pipeline check warns of interfaces of its zones and sources that this host does not have; that is no mistake, since they
may come later. Those that a source calls optional are noted without a warning.

A file without any source and sink is one for read.

A sink that is an executable of its own is not started: of it check sees whether the file is there and may be run, its
checksum and how it is to run. With --plugins it is started, and looks at its own table.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if purpose != "" && !slices.Contains(purposes, purpose) {
				return &usageError{fmt.Errorf("--for: %s", spelling.Unknown("command", purpose, purposes))}
			}
			o := planOptions{path: path, daemon: purpose == "run", daemonIfSinks: purpose == "", startPlugins: plugins}
			p, err := loadPlan(cmd.Context(), cmd.ErrOrStderr(), o, plan.Options{
				Log: newLogger(cmd.ErrOrStderr(), slog.LevelWarn), LookupInterface: lookupInterface,
			})
			if err != nil {
				return err
			}
			if !plugins {
				for _, name := range p.host.Unchecked() {
					fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: sink %s: the options of the plugin itself are checked with --plugins only\n", name)
				}
			}
			if purpose != "read" {
				notes, optional := p.Absent(interfaceNames())
				for _, note := range notes {
					fmt.Fprintln(cmd.ErrOrStderr(), "pipelined: warning:", note)
				}
				for _, note := range optional {
					fmt.Fprintln(cmd.ErrOrStderr(), "pipelined: note:", note)
				}
			}
			if err := errors.Join(p.down, p.host.Close()); err != nil {
				return err
			}
			if tests {
				r, err := p.Explainer().Tests(p.File.Tests)
				if err != nil {
					return err
				}
				if err := writeReport(forPeople(cmd), r, false); err != nil {
					return fmt.Errorf("standard output: %w", err)
				}
				if len(r.Failed) > 0 {
					return errReported
				}
			}
			if err := p.Describe(forPeople(cmd)); err != nil {
				return fmt.Errorf("standard output: %w", err)
			}
			return nil
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&purpose, "for", "", "the `COMMAND` that the configuration is for: run, or read, which needs no source and no sink. "+
		"Without it, that for which a file without any source and sink can only be")
	fixedCompletions(cmd, map[string][]string{"for": purposes})
	cmd.Flags().BoolVar(&tests, "tests", false, "also run the tests of the configuration, as the command test does")
	cmd.Flags().BoolVar(&plugins, "plugins", false, "also start the executables of plugins, and let them check their own options")
	return cmd
}
