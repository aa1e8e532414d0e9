// Command pipelined turns packets into security events and delivers every event it admits.
//
// The package parses command lines and wires the packages below: each command is in the file of its name, builtins.go lists
// the plugins that are compiled in, plan.go loads configurations.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/terminal"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
	exitTrouble = 2 // of diff, for which 1 is an answer
)

// version is set by the linker.
var version = "devel"

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run runs one command line and returns the exit code. Standard error is made safe for a terminal here, once for all commands;
// standard output is what the command makes it: see [forPeople].
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	errs := terminal.NewWriter(stderr)
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	code := 0
	var use *usageError
	var trouble *troubleError
	switch {
	case err == nil:
	case errors.Is(err, errDiffer):
		code = exitFailure
	case errors.As(err, &trouble):
		if !errors.Is(err, errReported) {
			fmt.Fprintf(errs, "pipelined: %v\n", err)
		}
		code = exitTrouble
	case errors.Is(err, errReported):
		code = exitFailure
	case errors.As(err, &use):
		fmt.Fprintf(errs, "pipelined: %v\nTry '%s --help'.\n", err, cmd.CommandPath())
		code = exitUsage
	default:
		fmt.Fprintf(errs, "pipelined: %v\n", err)
		code = exitFailure
	}
	_ = errs.Flush() // an error of standard error cannot be reported
	return code
}

// forPeople returns the standard output of a command that prints text for people, made safe for a terminal. Records are not
// printed through it: their formats replace control characters themselves.
func forPeople(cmd *cobra.Command) io.Writer { return terminal.NewWriter(cmd.OutOrStdout()) }

// errReported is the error of a command that has reported its failure already.
var errReported = errors.New("already reported")

// usageError is a mistake in the command line.
type usageError struct{ error }

// troubleError is a failure of a command whose exit code 1 says something else.
type troubleError struct{ error }

func (e *troubleError) Unwrap() error { return e.error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "pipelined",
		Short: "Turn packets into Juniper-style security events and deliver every event admitted",
		Long: `pipelined looks at packets from network interfaces (packet sockets or AF_XDP) or captures, follows their sessions, applies
screens, filters and zone policies, and writes what it finds as RT_FLOW, RT_IDS and firewall-filter records. It also writes
down what the kernel's own firewall tells of its sessions and its rules (conntrack, NFLOG). It blocks nothing, but as a
bridge between two interfaces, which sends on what its policies permit. It bounds what a flood may cost, counts every event,
and holds each record until its destination has taken it.

Start with 'pipelined read CAPTURE' to see the events of a capture, or with 'pipelined init', which looks at this machine and
writes a first configuration for it.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
		Args:          oneOfCommands,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newInit(),
		newRun(),
		newRead(),
		newReceive(),
		newStatus(),
		newReload(),
		newTail(),
		newTop(),
		newCheck(),
		newDoctor(),
		newExplain(),
		newDiff(),
		newTest(),
		newVerify(),
		newPlugins(),
		newPlugin(),
		newBypass(),
		newDetach(),
		newSample(),
		newSpool(),
		newVersion(),
	)
	// Those that the library makes of itself take any word otherwise, and succeed.
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			cmd.Args, cmd.RunE = oneOfCommands, root.RunE
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if found, rest, err := root.Find(args); err != nil || len(rest) > 0 && found.HasSubCommands() {
					return oneOfCommands(found, rest)
				}
				return nil
			}
		}
	}
	return root
}

// oneOfCommands are the arguments of a command that only has commands: none, as what is left is the name of none of them.
func oneOfCommands(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%s", spelling.Unknown("command", args[0], commandNames(cmd)))}
	}
	return nil
}

func commandNames(parent *cobra.Command) (names []string) {
	for _, cmd := range parent.Commands() {
		names = append(names, cmd.Name())
	}
	return names
}

// flagError makes a usage error of an error among the flags, and adds the flag with the nearest spelling.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return &usageError{err}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near, ok := spelling.Nearest(unknown.GetSpecifiedName(), names); ok {
		err = fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return &usageError{err}
}

// arguments turns a check of positional arguments into one whose errors are usage errors.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			return nil
		}
		if len(args) == 1 && cmd.Flags().Lookup("config") != nil && filepath.Ext(args[0]) == ".toml" {
			err = fmt.Errorf("a configuration is named by an option: %s --config %s", cmd.CommandPath(), args[0])
		}
		return &usageError{err}
	}
}
