package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/internal/top"
)

type topOptions struct {
	daemonFlags

	interval time.Duration
	once     bool
	json     bool
}

func newTop() *cobra.Command {
	var o topOptions
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what a running pipeline does, as a screen that keeps up",
		Long: `top shows packets and events per second, sessions, the state of the sinks and the ledger's verdict, and of the last minute the
zones and rules that make events, and the sources, destinations and ports of what is denied. The key ? says what keys do; Enter on a line has
its newest event explained, by the configuration that the daemon has read, as 'pipelined explain' does.

It is asked at the control socket, and cannot hold the daemon up: events that are too many to be looked at are left out, and it says how
many. With --once it prints all of it after one interval and ends; the lists then have what came in that interval.`,
		Example: `  pipelined top
  pipelined top --once --interval 10s
  pipelined top --once --json | jq .summary.sources`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.add(cmd)
	f := cmd.Flags()
	f.DurationVarP(&o.interval, "interval", "i", time.Second, "how often the numbers change")
	f.BoolVar(&o.once, "once", false, "print the numbers after one interval, and end")
	f.BoolVar(&o.json, "json", false, "with --once: print them as JSON")
	return cmd
}

func (o *topOptions) run(cmd *cobra.Command) error {
	switch {
	case o.interval < control.MinInterval || o.interval > control.MaxInterval:
		return &usageError{fmt.Errorf("--interval: must be %v to %v", control.MinInterval, control.MaxInterval)}
	case o.json && !o.once:
		return &usageError{errors.New("--json: goes with --once")}
	case !o.once && (!stdoutIsTerminal(cmd) || !term.IsTerminal(int(os.Stdin.Fd()))):
		return &usageError{errors.New("top needs a terminal; --once prints the numbers anywhere")}
	}
	client, _, err := o.find(cmd.Context(), cmd)
	if err != nil {
		return err
	}
	if o.once {
		return o.printOnce(cmd, client)
	}
	id, err := client.Daemon(cmd.Context())
	if err != nil {
		return err
	}
	return top.Run(cmd.Context(), top.Options{
		At: client.Path(), Colour: terminal.Colours(os.Stdout), Input: os.Stdin, Output: os.Stdout,
		Frames: func(ctx context.Context, got func(*control.Frame), trouble func(error)) {
			o.frames(ctx, client, got, trouble)
		},
		Explain: func(ctx context.Context, line string) (string, error) { return explainLine(ctx, id.Config, line) },
	})
}

// frames asks for frames until ctx ends, also of the next daemon.
func (o *topOptions) frames(ctx context.Context, client *control.Client, got func(*control.Frame), trouble func(error)) {
	for ctx.Err() == nil {
		err := eachFrame(ctx, client, o.interval, func(f *control.Frame) bool { got(f); return true })
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the daemon has ended; waiting for the next one")
		}
		trouble(err)
		select {
		case <-time.After(tryAgain):
		case <-ctx.Done():
		}
	}
}

// eachFrame calls got with every frame until that returns false. It returns an error otherwise, at last that the daemon has ended.
func eachFrame(ctx context.Context, client *control.Client, interval time.Duration, got func(*control.Frame) bool) error {
	body, err := client.Frames(ctx, interval)
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(body)
	for {
		f := new(control.Frame)
		if err := dec.Decode(f); err != nil {
			return err
		}
		if !got(f) {
			return nil
		}
	}
}

// onceWidth is how wide what --once prints may be.
const onceWidth = 100

// printOnce prints what two frames tell, the second one interval after the first.
func (o *topOptions) printOnce(cmd *cobra.Command, client *control.Client) error {
	model := top.New(client.Path(), false)
	model.Resize(onceWidth, 0)
	var last *control.Frame
	n := 0
	var wrong error
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), o.interval+control.Patience, errors.New("the daemon sends nothing"))
	defer cancel()
	err := eachFrame(ctx, client, o.interval, func(f *control.Frame) bool {
		last = f
		wrong = model.Frame(f)
		n++
		return n < 2 && wrong == nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	if _, named := errors.AsType[*control.DialError](err); named {
		return err
	}
	if err := errors.Join(err, wrong); err != nil {
		return fmt.Errorf("%s: %w", client.Path(), err)
	}
	if o.json {
		return printJSON(forPeople(cmd), last)
	}
	_, err = fmt.Fprintln(forPeople(cmd), model.All())
	return err
}

// explainLine explains the packet that a line of a log tells of, with a configuration.
func explainLine(ctx context.Context, path, line string) (string, error) {
	var out bytes.Buffer
	cmd := newExplain()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs([]string{"--config", path, line})
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}
