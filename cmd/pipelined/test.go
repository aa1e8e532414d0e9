package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/explain"
)

func newTest() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run the tests of a configuration: packets, and what is to become of them",
		Long: `test runs every [[test]] of the configuration: it carries the packet of the test past the hooks, as explain does, and compares
what became of it with what the test expects. Of a test that fails it prints what explain prints. At the end it lists the policies and
terms on which no test hits. The exit status is 1 if a test fails.`,
		Example: `  pipelined test
  pipelined test --config /etc/pipelined/pipeline.toml --json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			x, p, err := explainer(cmd, path, nil)
			if err != nil {
				return err
			}
			r, err := x.Tests(p.File.Tests)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), r)
			} else {
				err = writeReport(forPeople(cmd), r, true)
			}
			if err == nil && len(r.Failed) > 0 {
				err = errReported
			}
			return err
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// writeReport writes what became of tests, and if wanted on which rules none has hit.
func writeReport(w io.Writer, r *explain.Report, unhit bool) error {
	for i := range r.Failed {
		f := &r.Failed[i]
		if _, err := fmt.Fprintf(w, "FAIL %s: %s\n", f.Place, f.Name); err != nil {
			return err
		}
		for _, d := range f.Differences {
			if _, err := fmt.Fprintf(w, "     %s\n", d); err != nil {
				return err
			}
		}
		for _, m := range f.Missing {
			if _, err := fmt.Fprintf(w, "     missing: %s\n", m); err != nil {
				return err
			}
		}
		if err := f.Answer.Write(w); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	if unhit {
		for _, u := range r.Unhit {
			if _, err := fmt.Fprintf(w, "no test hits %s of hooks.%s\n", u.Rule, u.Hook); err != nil {
				return err
			}
		}
	}
	if r.Passed+len(r.Failed) == 0 {
		_, err := fmt.Fprintln(w, "there are no tests: a [[test]] in the configuration is one")
		return err
	}
	_, err := fmt.Fprintf(w, "tests: %d passed, %d failed\n", r.Passed, len(r.Failed))
	return err
}
