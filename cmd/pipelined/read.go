package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/framefile"
	"github.com/rtflow/pipelined/internal/safefile"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sinks/file"
	"github.com/rtflow/pipelined/sources/capture"
)

type readOptions struct {
	eventFlags

	config, ledger, iface string
	close                 bool
}

func newRead() *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "read CAPTURE",
		Short: "Print the events of a capture",
		Long: `read prints the events of a capture (pcap or pcapng, plain or compressed with gzip, zstd, xz or lz4, "-" for
standard input) on standard output. Zones, hooks and admission limits come from the configuration; its sources and sinks are
left alone. Without a pipeline.toml here, and without --config, private addresses are one zone and all others another. The
same capture and configuration give the same bytes. If less than half of the packets could be used, standard error says why.

On a terminal an event is a short line for people: time of day in UTC, what, who to whom, why. Elsewhere it is a syslog
message with structured data. --format names another format.

A session that is still in the table when the capture ends has no close record, as in the log of a device; nor has one whose
FINs came within the last two seconds. With --close they get one, unless a signal ends the reading, at
the time of the last packet, with the reason "unset" unless a FIN or RST gives another.

CAPTURE may also be a file of frames that read or a file sink wrote with the format "frames", compressed or not: its records
are printed as they are, with the names that the file holds. A file of an earlier version holds none: the names are those of
the configuration then. There is no --ledger for them: no packets are read.`,
		Example: `  pipelined read edge.pcapng.gz
  tcpdump -i lan0 -U -w - | pipelined read --interface lan0 -
  pipelined read --format json --ledger ledger.json edge.pcapng.gz`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return read(cmd, args[0], o) },
	}
	configFlag(cmd, &o.config)
	o.add(cmd)
	f := cmd.Flags()
	f.StringVar(&o.ledger, "ledger", "", "write the account of all packets and events to `FILE` as JSON")
	f.StringVar(&o.iface, "interface", "", "`NAME` of the interface a capture was taken on, if the capture does not say")
	f.BoolVar(&o.close, "close", false, "end the sessions that are left when the capture ends")
	return cmd
}

func read(cmd *cobra.Command, path string, o readOptions) error {
	shape, err := o.options(stdoutIsTerminal(cmd))
	if err != nil {
		return &usageError{err}
	}
	input, frames, err := framefile.Open(path, os.Stdin)
	if err != nil {
		return err
	}
	defer input.Close()
	if frames {
		if err := onlyOfCaptures(cmd); err != nil {
			return err
		}
		return readFrames(cmd, input, o, shape)
	}

	if o.ledger != "" {
		if err := checkLedger(o.ledger); err != nil {
			return err
		}
	}

	ctx, fail := context.WithCancelCause(cmd.Context())
	defer fail(nil)
	var open atomic.Pointer[capture.Source]
	log := newLogger(cmd.ErrOrStderr(), slog.LevelWarn)
	from := capture.Config{Path: path, Stdin: input, Interface: o.iface, Warn: func(msg string, args ...any) { log.Warn(msg, args...) }} //nolint:sloglint // the capture words it
	p, err := loadPlan(cmd.Context(), cmd.ErrOrStderr(), configOfRead(cmd, o.config), plan.Options{
		Log:   log,
		Input: &plan.Input{Name: "capture", Configured: capture.Configure(from, func(s *capture.Source) { open.Store(s) })},
		Output: &plan.Output{Name: "stdout", New: func(env sdk.Env) sdk.Sink {
			shape.Hostname = env.Hostname
			enc, err := format.New(shape)
			if err != nil {
				fail(err)
			}
			return onceSink{file.NewWriter(cmd.OutOrStdout(), enc), fail}
		}},
	})
	if err != nil {
		return err
	}
	// From here on a signal ends reading and still gives the ledger; before, it ends the program.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	pl, err := pipeline.Open(ctx, p.Plan, pipeline.Options{CloseAtEnd: o.close})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), context.Canceled) {
			pl.Hurry() // the output has failed, and records cannot be delivered
		}
	})
	done := make(chan struct{})
	go showProgress(&open, done)
	err = pl.Run(ctx)
	close(done)
	if cause := context.Cause(ctx); cause != nil && err == nil {
		err = cause
		if errors.Is(cause, context.Canceled) {
			err = errors.New("interrupted")
		}
	}
	led := pl.Ledger()
	var skipped uint64
	if s := open.Load(); s != nil {
		skipped = s.Stats().OtherLinkType
	}
	if why := led.Packets.Unused(skipped); why != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: %s: %s\n", path, why)
	}
	if o.ledger != "" {
		err = errors.Join(err, writeLedger(o.ledger, &led))
	}
	return err
}

// onceSink ends the command when its sink fails, instead of waiting to be run again.
type onceSink struct {
	sdk.Sink
	fail context.CancelCauseFunc
}

func (s onceSink) Run(ctx context.Context, stream sdk.Stream) error {
	err := s.Sink.Run(ctx, stream)
	if err != nil && ctx.Err() == nil {
		s.fail(err)
		<-ctx.Done()
	}
	return err
}

// checkLedger looks whether there can be a file of that name, before hours of reading.
func checkLedger(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("--ledger: %s is a directory", path)
	}
	dir, err := safefile.OpenParent(path, safefile.Options{Shared: true})
	if err != nil {
		return fmt.Errorf("--ledger: %w", err)
	}
	return dir.Close()
}

func writeLedger(path string, led *metrics.Ledger) error {
	text, err := json.MarshalIndent(led, "", "  ")
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	return safefile.WriteFile(path, append(text, '\n'), 0o644)
}
