package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/draft"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/survey"
)

func newInit() *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a first configuration for this machine, from what it looks like",
		Long: `init looks at the interfaces, addresses and routes of this machine, at the rules of its firewall and at its connection
tracking, and writes a commented configuration for it: to FILE, which must not exist, or else to standard output. What it has
seen and what to do next it says on standard error. It changes nothing on the machine.

It chooses

  a router           it forwards between several interfaces: sources conntrack and, if rules log to groups of NFLOG, nflog;
                     zones by interface and route; screens at the default route
  a mirror port      an interface is up that has no address: source afpacket, zones by address
  a host             source afpacket on its interfaces; zones by address
  without a network  a capture

What it could not know is marked with "CHECK:". Without root it cannot read the rules of the firewall, and says so. It looks
in the network namespace that it runs in.`,
		Example: `  sudo pipelined init
  sudo pipelined init pipeline.toml && sudo pipelined doctor && sudo pipelined run`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := ""
			if len(args) > 0 {
				path = args[0]
				if _, err := os.Lstat(path); path == "" || err == nil {
					return errExists(path)
				}
			}
			return initialise(cmd, draftHere, path)
		},
	}
}

// draftHere returns the draft for this machine.
func draftHere() (draft.Draft, error) { return draft.New(survey.Look(machine.This())) }

// initialise writes a draft to a file that does not exist yet, or to standard output if path is "".
func initialise(cmd *cobra.Command, makeDraft func() (draft.Draft, error), path string) error {
	d, err := makeDraft()
	if err != nil {
		return err
	}
	name := path
	if name == "" {
		name = "pipeline.toml"
	}
	// A draft with a mistake would be one of this program: it is not handed on.
	p, err := loadPlan(cmd.Context(), cmd.ErrOrStderr(), planOptions{path: name, text: []byte(d.Text), daemon: true}, plan.Options{
		Log: newLogger(cmd.ErrOrStderr(), slog.LevelWarn), LookupInterface: lookupInterface,
	})
	if err != nil {
		return fmt.Errorf("the configuration for this machine has a mistake, which is a fault of init; 'pipelined sample' prints one to begin with: %w", err)
	}
	if err := p.host.Close(); err != nil {
		return err
	}
	if path != "" {
		if err := writeNew(path, d.Text); err != nil {
			return err
		}
	} else if _, err := io.WriteString(cmd.OutOrStdout(), d.Text); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	writeSeen(cmd.ErrOrStderr(), d, path)
	return nil
}

// errExists says why a file is not written.
func errExists(path string) error {
	if path == "" {
		return &usageError{errors.New("the name of the file is empty")}
	}
	return fmt.Errorf("%s exists, and init writes over nothing: name another file, or none to see the configuration", path)
}

// writeNew writes a file that must not exist, and leaves none behind if it cannot be written whole.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return errExists(path)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// writeSeen says what init has seen, and what to do next.
func writeSeen(w io.Writer, d draft.Draft, path string) {
	fmt.Fprintln(w, "This machine looks like")
	for n, line := range d.Saw {
		if n == 0 {
			fmt.Fprintf(w, "  %s\n", line)
			continue
		}
		fmt.Fprintf(w, "    %s\n", line)
	}
	option, sudo := "", "sudo "
	switch path {
	case "":
		fmt.Fprintln(w, "Next: keep the configuration in a file, with 'pipelined init pipeline.toml', and then")
	case "pipeline.toml":
		fmt.Fprintf(w, "%s is written. Next:\n", path)
	default:
		option = " --config " + machine.Shell(path)
		fmt.Fprintf(w, "%s is written. Next:\n", path)
	}
	fmt.Fprintln(w, "  look at the lines with CHECK")
	for _, line := range d.Next {
		fmt.Fprintf(w, "  %s\n", line)
	}
	for _, command := range []string{"pipelined check", sudo + "pipelined doctor", sudo + "pipelined run"} {
		fmt.Fprintf(w, "  %s%s\n", command, option)
	}
}
