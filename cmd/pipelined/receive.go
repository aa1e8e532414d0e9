package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/format"
)

type receiveOptions struct {
	eventFlags

	config, mode string

	only             []string
	dial, noAck      bool
	ackEvery         time.Duration
	stall, stats     time.Duration
	dropAfter, count uint64
}

func newReceive() *cobra.Command {
	var o receiveOptions
	cmd := &cobra.Command{
		Use:   "receive PATH",
		Short: "Print the events that a unixsock sink sends",
		Long: `receive is the other end of the sink "unixsock": it listens on the Unix socket PATH, or connects to it with --dial,
prints the records on standard output, on a terminal as short lines and elsewhere as syslog messages as read does, and
acknowledges them when they are written there. Standard error tells what
happens to the stream: connections, replays and restarts of the producer, gaps, resyncs. SIGTERM or SIGINT ends it with
a summary.

Records that are replayed are printed once. Session tables that follow a resync are counted, not printed. Names come from
the configuration of the producer; without one, ids of zones, policies, filters and interfaces have no names.

An outage is rehearsed with
  --stall D       one pause after the first record, in which nothing is read, printed or acknowledged
  --drop-after N  the connection is closed, with what has come acknowledged, after each N records
  --no-ack        nothing is ever acknowledged: the producer's ring fills up, and each connection replays it
A sink ends the connection with a receiver that owes acknowledgements and says nothing for its "silence", 30 s.`,
		Example: `  pipelined receive /run/pipelined/events.sock
  pipelined receive --format json --only session-close,policy-deny /run/pipelined/events.sock | jq .
  pipelined receive --stall 30s --stats 5s /run/pipelined/events.sock > /dev/null`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return receive(cmd, args[0], o) },
	}
	configFlag(cmd, &o.config)
	o.add(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&o.only, "only", nil, "print these `KINDS` alone, and losses: session-open, session-close, policy-deny, screen-drop, filter-log")
	f.BoolVar(&o.dial, "dial", false, "connect to a sink that listens, instead of listening")
	f.StringVar(&o.mode, "mode", "0660", "permissions of the socket: who may write to it may connect")
	f.DurationVar(&o.ackEvery, "ack-every", 0, "acknowledge at most this often; 0 is once per read")
	f.Uint64VarP(&o.count, "count", "n", 0, "stop when this many records are printed; 0 is never")
	f.DurationVar(&o.stats, "stats", 0, "print a line of counters this often; 0 is never")
	f.DurationVar(&o.stall, "stall", 0, "rehearsal: stop for this long after the first record")
	f.Uint64Var(&o.dropAfter, "drop-after", 0, "rehearsal: close the connection after each `N` records")
	f.BoolVar(&o.noAck, "no-ack", false, "rehearsal: never acknowledge")
	fixedCompletions(cmd, map[string][]string{"only": kindNames()})
	return cmd
}

func receive(cmd *cobra.Command, path string, o receiveOptions) error {
	t, err := newReceivePrinter(cmd, o)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, t.finish = context.WithCancel(ctx)
	defer t.finish()
	reported := t.reportEvery(ctx, o.stats)
	if o.dial {
		t.log.Info("connecting", "path", path)
		err = t.receiver.Dial(ctx, path)
	} else {
		t.log.Info("listening", "path", path)
		err = t.receiver.Listen(ctx, path)
	}
	over := ctx.Err() != nil
	t.finish()
	<-reported
	var failed *eventstream.HandlerError
	if over && !errors.As(err, &failed) {
		err = nil // the user has ended it
	}
	return errors.Join(err, t.summary(cmd.ErrOrStderr()))
}

// newReceivePrinter checks the options and returns a printer with its receiver.
func newReceivePrinter(cmd *cobra.Command, o receiveOptions) (*receivePrinter, error) {
	only, err := kindSet(o.only)
	if err != nil {
		return nil, &usageError{err}
	}
	mode, err := strconv.ParseUint(o.mode, 8, 32)
	switch {
	case err != nil || mode == 0 || mode > 0o777:
		return nil, &usageError{fmt.Errorf("--mode: must be octal permissions such as 0660, not %q", o.mode)}
	case o.noAck && o.ackEvery != 0:
		return nil, &usageError{errors.New("--no-ack and --ack-every contradict each other")}
	case o.ackEvery < 0 || o.stall < 0 || o.stats < 0:
		return nil, &usageError{errors.New("--ack-every, --stall and --stats: a duration cannot be negative")}
	}
	shape, err := o.options(stdoutIsTerminal(cmd))
	if err != nil {
		return nil, &usageError{err}
	}
	log := newLogger(cmd.ErrOrStderr(), slog.LevelInfo)
	var names *event.Names
	if names, shape.Hostname, err = receiveNames(cmd, o.config); err != nil {
		return nil, err
	}
	if names != nil {
		log.Info("names come from the configuration", "config", o.config)
	} else {
		log.Warn("no configuration: zones, policies, filters and interfaces have no names; give the producer's with --config", "config", o.config)
	}
	enc, err := format.New(shape)
	if err != nil {
		return nil, &usageError{err}
	}
	t := &receivePrinter{
		receiveOptions: o, only: only, encoder: enc, names: names, log: log,
		out: bufio.NewWriterSize(cmd.OutOrStdout(), 1<<18),
	}
	t.receiver = &eventstream.Receiver{Handler: t.handler(), AckEvery: o.ackEvery, Mode: fs.FileMode(mode)}
	if o.noAck {
		t.receiver.AckEvery = -1
	}
	return t, nil
}

// kindSet returns the set of the named kinds and loss, as the option "only" of a sink does; all kinds if names is empty.
func kindSet(names []string) (event.KindSet, error) {
	if len(names) == 0 {
		return event.AllKinds, nil
	}
	set := event.KindSet(0).With(event.Loss)
	for _, name := range names {
		kind, ok := event.ParseKind(name)
		if !ok {
			return 0, fmt.Errorf("--only: %s", spelling.Unknown("kind of event", name, kindNames()))
		}
		set = set.With(kind)
	}
	return set, nil
}

// receiveNames returns the names of a configuration, and the hostname for the lines. Without a file at path the
// names are nil, unless the user has named the file: that is an error then.
func receiveNames(cmd *cobra.Command, path string) (*event.Names, string, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config") {
		hostname, err := os.Hostname()
		if err != nil {
			return nil, "", fmt.Errorf("the host's name: %w", err)
		}
		return nil, hostname, nil
	}
	p, err := loadPlan(cmd.Context(), cmd.ErrOrStderr(), planOptions{path: path}, plan.Options{LookupInterface: lookupInterface})
	if err != nil {
		return nil, "", err
	}
	return p.Names(), p.Hostname, nil
}
