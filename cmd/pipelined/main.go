// Command pipelined turns packets into security events and delivers every event it admits.
//
// This package is wiring: flags, what is compiled in (builtins.go), and exit codes. It decides nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rtflow/pipelined/core/config"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// version is set by the linker.
var version = "devel"

func main() { os.Exit(run()) }

func run() int {
	root := newRoot()
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return 0
	}
	var use *usageError
	switch {
	case errors.Is(err, errReported):
		return exitFailure
	case errors.As(err, &use):
		fmt.Fprintf(os.Stderr, "pipelined: %v\nTry '%s --help'.\n", err, cmd.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(os.Stderr, "pipelined: %v\n", err)
		return exitFailure
	}
}

// errReported is a failure that the user has been told of already.
var errReported = errors.New("already reported")

// usageError is a command line that cannot be meant.
type usageError struct{ error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "pipelined",
		Short: "Turn packets into Juniper-style security events and deliver every event admitted",
		Long: `pipelined looks at packets from network interfaces (AF_XDP) or captures, follows their sessions, applies screens,
filters and zone policies, and writes what it finds as RT_FLOW, RT_IDS and firewall-filter records. It bounds what a
flood may cost, counts every event, and holds each record until its destination has taken it.

Start with 'pipelined read CAPTURE' to see the events of a capture, or with 'pipelined sample > pipeline.toml'.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{errors.New(config.Unknown("command", args[0], commandNames(cmd)))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newRun(), newRead(), newReceive(), newStatus(), newCheck(), newVerify(), newPlugins(), newPlugin(), newSample(),
		newVersion())
	return root
}

func commandNames(root *cobra.Command) (names []string) {
	for _, cmd := range root.Commands() {
		names = append(names, cmd.Name())
	}
	return names
}

// flagError makes a usage error of an error among the flags, with the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return &usageError{err}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near, ok := config.Nearest(unknown.GetSpecifiedName(), names); ok {
		err = fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return &usageError{err}
}

// arguments turns a check of positional arguments into one whose errors are usage errors.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{err}
		}
		return nil
	}
}
