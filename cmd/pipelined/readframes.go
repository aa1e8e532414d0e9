package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/framefile"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// onlyOfCaptures refuses the flags that have no meaning for files of frames: there are no packets to count, and each record
// has its interface.
func onlyOfCaptures(cmd *cobra.Command) error {
	for _, name := range []string{"ledger", "interface", "close"} {
		if cmd.Flags().Changed(name) {
			return &usageError{fmt.Errorf("--%s is for captures only: this is a file of frames", name)}
		}
	}
	return nil
}

// readFrames prints the records of a file of frames. Names come from the file; for a file of an earlier version, which has
// none, from the configuration.
func readFrames(cmd *cobra.Command, input io.Reader, o readOptions, shape format.Options) error {
	skipped, err := framefile.Print(cmd.OutOrStdout(), input, shape, func() (*event.Names, string, error) {
		p, err := loadPlan(cmd.Context(), cmd.ErrOrStderr(), configOfRead(cmd, o.config), plan.Options{
			Input: &plan.Input{Name: "frames"}, Output: &plan.Output{Name: "stdout", New: func(sdk.Env) sdk.Sink { return nil }},
		})
		if err != nil {
			return nil, "", err
		}
		return p.Names(), p.Hostname, nil
	})
	if skipped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: %d frames are not records and were skipped\n", skipped)
	}
	return err
}
