package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

type tailOptions struct {
	daemonFlags
	eventFlags

	query  control.EventQuery
	follow bool
	count  uint64
}

func newTail() *cobra.Command {
	var o tailOptions
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print the events of a running pipeline as they are admitted",
		Long: `tail prints the events that a running pipelined admits from now on, whatever its sinks are, until it is interrupted, the
daemon ends, or --count events have been printed. With --follow it waits for the next daemon. Nothing is kept for it: events that came
before are in the sinks' files.

Options of one kind widen what is printed, those of several narrow it: --zone lan --zone dmz --port 443 prints the events of either
zone at that port. It cannot hold anything up. What is too much to show is left out, and standard error says how much.`,
		Example: `  pipelined tail --only policy-deny
  pipelined tail --zone lan --address 10.0.0.0/8 --port 443
  pipelined tail --policy no-telnet --format json | jq .`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return tailEvents(cmd, o) },
	}
	o.daemonFlags.add(cmd)
	o.addLines(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&o.query.Only, "only", nil, "`KIND` of events, such as policy-deny; may be repeated")
	f.StringSliceVar(&o.query.Zones, "zone", nil, "`ZONE` that they come from or go to; may be repeated")
	f.StringArrayVar(&o.query.Policies, "policy", nil, "`NAME` of the policy, the filter, its term, or the screen; may be repeated")
	f.StringSliceVar(&o.query.Addresses, "address", nil, "address or `PREFIX` of either end, also of a translated one; may be repeated")
	f.StringSliceVar(&o.query.Ports, "port", nil, "`PORT` of either end, also of a translated one; may be repeated")
	f.BoolVarP(&o.follow, "follow", "f", false, "when the daemon ends, wait for the next one")
	f.Uint64VarP(&o.count, "count", "n", 0, "end after `N` events")
	fixedCompletions(cmd, map[string][]string{"only": kindNames()})
	return cmd
}

// tryAgain is the pause before a daemon that does not answer is asked again.
const tryAgain = 500 * time.Millisecond

func tailEvents(cmd *cobra.Command, o tailOptions) error {
	options, err := o.options(stdoutIsTerminal(cmd))
	if err != nil {
		return &usageError{err}
	}
	if options.Format == format.Frames {
		return &usageError{errors.New("--format: frames are not lines: a sink writes them")}
	}
	for _, of := range []struct {
		flag string
		list []string
	}{{"only", o.query.Only}, {"zone", o.query.Zones}, {"policy", o.query.Policies}, {"address", o.query.Addresses}, {"port", o.query.Ports}} {
		if slices.Contains(of.list, "") || len(of.list) == 0 && cmd.Flags().Changed(of.flag) {
			return &usageError{fmt.Errorf("--%s: it is empty: nothing would match", of.flag)}
		}
	}
	for _, name := range o.query.Only {
		if _, ok := event.ParseKind(name); !ok {
			return &usageError{fmt.Errorf("--only: unknown kind %q; known are %v", name, kindNames())}
		}
	}
	o.query.Format, o.query.Profile, o.query.Colour = options.Format, options.Profile, options.Colour
	client, _, err := o.find(cmd.Context(), cmd)
	if err != nil {
		return err
	}
	errs := cmd.ErrOrStderr()
	left := o.count
	for again := false; ; again = true {
		lines, err := client.Events(cmd.Context(), &o.query)
		switch {
		case err == nil:
			err = copyEvents(cmd.OutOrStdout(), errs, lines, &left)
			if err == nil && o.count > 0 && left == 0 {
				return nil
			}
			if err == nil && !o.follow {
				return errors.New("the daemon has ended")
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(errs, "the daemon has ended; waiting for the next one")
		case !o.follow || !again || refused(err) || cmd.Context().Err() != nil:
			return err
		}
		select {
		case <-time.After(tryAgain):
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		}
	}
}

// refused reports whether a daemon has answered that it does not show what was asked for. What else goes wrong may be other at the next.
func refused(err error) bool {
	_, ok := errors.AsType[*control.RefusedError](err)
	return ok
}

// copyEvents prints events until the stream ends, or *left of them, if that is not 0. What is no event goes to notes. The error is that of
// standard output, or of the context.
func copyEvents(out, notes io.Writer, lines io.ReadCloser, left *uint64) error {
	defer lines.Close()
	in := bufio.NewReaderSize(lines, 64<<10)
	buffered := bufio.NewWriterSize(out, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, context.Canceled) {
				return errors.Join(buffered.Flush(), err)
			}
			return buffered.Flush() // the daemon has ended
		}
		if note, ok := bytes.CutPrefix(line, []byte(control.Comment)); ok {
			fmt.Fprintln(notes, terminal.Line(string(note)))
			continue
		}
		if _, err := buffered.Write(line); err != nil {
			return err
		}
		if line[len(line)-1] == '\n' && *left > 0 {
			if *left--; *left == 0 {
				return buffered.Flush()
			}
		}
		if in.Buffered() == 0 {
			if err := buffered.Flush(); err != nil {
				return err
			}
		}
	}
}
