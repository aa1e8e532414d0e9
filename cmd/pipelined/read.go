package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/internal/safefile"
	"github.com/rtflow/pipelined/internal/unpack"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sinks/file"
	"github.com/rtflow/pipelined/sources/capture"
)

type readOptions struct {
	config, format, profile, ledger, iface, colour string

	toTerminal bool // whether standard output is a terminal
	close      bool
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

On a terminal an event is a short line for people: time of day in UTC, what, who to whom, why. Elsewhere it is a syslog line with
structured data. --format names another form.

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
		RunE: func(cmd *cobra.Command, args []string) error {
			o.toTerminal = onTerminal(cmd)
			return read(cmd, args[0], o)
		},
	}
	configFlag(cmd, &o.config)
	f := cmd.Flags()
	f.StringVarP(&o.format, "format", "f", "", "text, rfc5424, rfc3164, json or frames; without it text on a terminal, else rfc5424")
	f.StringVar(&o.colour, "colour", "auto", "colours in the format text: auto (on a terminal, unless NO_COLOR is set), always or never")
	f.StringVar(&o.profile, "profile", format.Junos20, "releases that syslog lines imitate: "+strings.Join(format.Profiles(), ", "))
	f.StringVar(&o.ledger, "ledger", "", "write the account of all packets and events to `FILE` as JSON")
	f.StringVar(&o.iface, "interface", "", "`NAME` of the interface a capture was taken on, if the capture does not say")
	f.BoolVar(&o.close, "close", false, "end the sessions that are left when the capture ends")
	fixedCompletions(cmd, map[string][]string{"format": format.Names(), "profile": format.Profiles(), "colour": colours})
	return cmd
}

func read(cmd *cobra.Command, path string, o readOptions) error {
	shape, err := o.shape()
	if err != nil {
		return &usageError{err}
	}
	input, frames, err := openInput(path)
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

	ctx, fail := context.WithCancelCause(cmd.Context())
	defer fail(nil)
	var open atomic.Pointer[capture.Source]
	p, err := plan(cmd.Context(), cmd.ErrOrStderr(), configOrBuiltin(cmd, o.config), pipeline.Options{
		Log:        newLogger(cmd.ErrOrStderr(), slog.LevelWarn),
		CloseAtEnd: o.close,
		Input: &pipeline.Input{
			Name:       "capture",
			Configured: capture.Configure(capture.Config{Path: path, Stdin: input, Interface: o.iface}, func(s *capture.Source) { open.Store(s) }),
		},
		Output: &pipeline.Output{Name: "stdout", New: func(env sdk.Env) sdk.Sink {
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
	pl, err := p.Open(ctx)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), context.Canceled) {
			pl.Hurry() // the output has failed: there is nothing to wait for
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
	if why := unused(&led.Packets, skipped); why != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: %s: %s\n", path, why)
	}
	if o.ledger != "" {
		err = errors.Join(err, writeLedger(o.ledger, &led))
	}
	return err
}

// onceSink ends the command when its sink fails: what cannot be written now will not be later.
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

// openInput opens the file and reports whether it is a file of frames. Standard input is looked at without losing a byte.
func openInput(path string) (input io.ReadCloser, frames bool, err error) {
	f := os.Stdin
	if path != "-" {
		st, err := os.Stat(path)
		if err != nil {
			return nil, false, err
		}
		if !st.Mode().IsRegular() {
			return io.NopCloser(nil), false, nil // a FIFO, directory or device is for the capture reader to open
		}
		if f, err = os.Open(path); err != nil {
			return nil, false, err
		}
	}
	b := bufio.NewReaderSize(f, 1<<16)
	head, err := b.Peek(event.HeaderSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	if compressed := unpack.Detect(head); compressed != nil && path != "-" {
		return packedInput(f, compressed)
	}
	return readCloser{b, f}, event.LooksLikeFrames(head), nil
}

// packedInput reports whether the compressed file holds frames, and then returns them unpacked. The capture reader unpacks
// captures itself.
func packedInput(f *os.File, compressed *unpack.Format) (input io.ReadCloser, frames bool, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	z, err := compressed.NewReader(f)
	if err != nil {
		return f, false, nil // the capture reader says what is wrong with it
	}
	b := bufio.NewReaderSize(z, 1<<16)
	head, err := b.Peek(event.HeaderSize)
	if err != nil || !event.LooksLikeFrames(head) {
		return f, false, nil
	}
	return readCloser{b, f}, true, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// onlyOfCaptures refuses the options that mean nothing for records: no packets are read that an account could be of, and
// each record names its interface.
func onlyOfCaptures(cmd *cobra.Command) error {
	for _, name := range []string{"ledger", "interface", "close"} {
		if cmd.Flags().Changed(name) {
			return &usageError{fmt.Errorf("--%s is for captures only: this is a file of frames", name)}
		}
	}
	return nil
}

// readFrames prints the records of a file of frames.
// Names come from the file; for a file of an earlier version, which has none, from the configuration.
func readFrames(cmd *cobra.Command, input io.Reader, o readOptions, shape format.Options) error {
	b := bufio.NewReaderSize(input, 1<<16)
	if head, err := b.Peek(event.HeaderSize + event.MaxPayload); err == nil || errors.Is(err, io.EOF) {
		if event.HasNames(head) {
			return printFrames(cmd, b, shape, nil, "")
		}
	}
	p, err := plan(cmd.Context(), cmd.ErrOrStderr(), configOrBuiltin(cmd, o.config), pipeline.Options{
		Input: &pipeline.Input{Name: "frames"}, Output: &pipeline.Output{Name: "stdout", New: func(sdk.Env) sdk.Sink { return nil }},
	})
	if err != nil {
		return err
	}
	return printFrames(cmd, b, shape, p.Names(), p.Hostname())
}

// printFrames prints records with the names that stand before them, or those given.
func printFrames(cmd *cobra.Command, input io.Reader, shape format.Options, names *event.Names, host string) error {
	encoderFor := func(from event.Origin) (format.Encoder, error) {
		shape.Hostname, shape.Epoch = from.Host, from.Epoch
		return format.New(shape)
	}
	enc, err := encoderFor(event.Origin{Host: host})
	if err != nil {
		return &usageError{err}
	}
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<18)
	records := event.NewReader(input)
	var rec event.Record
	var line []byte
	for {
		err := records.Next(&rec)
		if err != nil {
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			if n := records.Skipped(); n > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: %d frames are not records and were skipped\n", n)
			}
			return errors.Join(err, out.Flush())
		}
		line = line[:0]
		if own, from := records.Names(); own != nil && own != names {
			names = own
			if enc, err = encoderFor(from); err != nil { // a host name that no daemon has
				from.Host = ""
				if enc, err = encoderFor(from); err != nil {
					return err
				}
			}
			if p, ok := enc.(format.Prefacer); ok {
				line = p.AppendPreface(line, names)
			}
		}
		line = append(enc.Append(line, &rec, names), enc.Terminator()...)
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
	}
}

// showProgress draws a bar on standard error, if that is a terminal and there is something to wait for.
func showProgress(open *atomic.Pointer[capture.Source], done <-chan struct{}) {
	if !term.IsTerminal(int(os.Stderr.Fd())) || term.IsTerminal(int(os.Stdout.Fd())) {
		return
	}
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	var bar *progressbar.ProgressBar
	for {
		select {
		case <-done:
			if bar != nil {
				_ = bar.Clear() // the terminal has gone: nobody sees it
			}
			return
		case <-ticker.C:
		}
		s := open.Load()
		if s == nil {
			continue
		}
		read, total := s.Progress()
		if bar == nil {
			if total == 0 {
				total = -1
			}
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowBytes(true),
				progressbar.OptionSetDescription("reading"), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set64(read) // as above
	}
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
