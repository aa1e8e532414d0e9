package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/compare"
	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/explain"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sources/capture"
)

type diffOptions struct {
	old, new, capture, flows, iface string
	json                            bool
}

// errDiffer is the error of diff when something differs: no failure, but an exit status.
var errDiffer = errors.New("the configurations differ")

func newDiff() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff OLD.toml NEW.toml [CAPTURE]",
		Short: "Say what a change of the configuration does: to its rules, and to the flows of a capture or of a log",
		Long: `diff compares two configurations. It lists what was added, removed, changed and moved, warnings that only the new one gives (rules
that never decide, among others), and pairs of policies in another order that packets may match both.

With a capture it carries its packets past the hooks of both, with the code of the daemon, and lists every flow that is let through, logged
or placed in zones otherwise, together with others that differ in the same way, and the rules that are responsible. With --flows it does so
for the sessions, denials and filter records of a log of pipelined's own, or of a device that writes the same: syslog, JSON, or the lines
for people, plain or compressed. Of each flow in it one packet is made and carried alone: there is no rate and no scan, and a TCP packet is a SYN.
It is placed by interface and prefix: zones that came from routes, or from marks and zones of conntrack, are not taken from the lines.

The exit status is 0 if the configurations are the same, 1 if they differ, and 2 if they cannot be compared. Over a capture or a log only
flows count for it, and lines whose interface only one of the two has: a change that none of them notices leaves it 0.`,
		Example: `  pipelined diff /etc/pipelined/pipeline.toml pipeline.toml
  pipelined diff old.toml new.toml edge.pcapng.gz
  pipelined diff old.toml new.toml --flows /var/log/rtflow/events.log.1.gz`,
		Args: arguments(cobra.RangeArgs(2, 3)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.old, o.new = args[0], args[1]
			if len(args) == 3 {
				o.capture = args[2]
			}
			if o.capture != "" && o.flows != "" {
				return &usageError{errors.New("either a capture or --flows")}
			}
			if err := readTwice(o.capture); err != nil {
				return &usageError{err}
			}
			err := o.run(cmd)
			if err != nil && !errors.Is(err, errDiffer) {
				return &troubleError{err}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.flows, "flows", "", "compare the flows of the log `FILE`, \"-\" for standard input")
	f.StringVar(&o.iface, "interface", "", "`NAME` of the interface the capture was taken on, if it does not say")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// readTwice returns an error for a capture that cannot be read once by each configuration.
func readTwice(path string) error {
	if path == "-" {
		return errors.New("a capture is read twice, once by each configuration: it must be a file, not standard input")
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s: a capture is read twice, once by each configuration: it must be a regular file", path)
	}
	return nil
}

// difference is what diff prints.
type difference struct {
	Changes   []config.Change     `json:"changes"`
	Warnings  []string            `json:"warnings"`  // of the new configuration alone
	Reordered []compare.Reordered `json:"reordered"` // at most a hundred
	More      int                 `json:"more_reordered,omitempty"`
	Flows     *compare.Report     `json:"flows,omitempty"`
	Notes     []string            `json:"notes,omitempty"` // on the flows
	compare.LogLines
}

// side is one of the two configurations.
type side struct {
	*planned
	x        *explain.Explainer
	recorder *compare.Recorder
}

func (o *diffOptions) run(cmd *cobra.Command) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	old, err := o.load(cmd, o.old)
	if err != nil {
		return err
	}
	now, err := o.load(cmd, o.new)
	if err != nil {
		return err
	}
	d := difference{Changes: old.File.Changes(now.File), Warnings: newWarnings(old.problems.All(), now.problems.All())}
	d.Reordered, d.More = compare.Orders(now.x, d.Changes)
	differs := len(d.Changes) > 0
	if o.capture != "" || o.flows != "" {
		if o.capture != "" {
			if err = old.read(ctx); err == nil { // else the second reading would only fail in the same way
				err = now.read(ctx)
			}
		} else {
			d.LogLines, err = o.carryLog(ctx, old, now)
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(terminal.NewWriter(cmd.ErrOrStderr()), d.LogLines.Text()); err != nil {
			return fmt.Errorf("standard error: %w", err)
		}
		d.Flows = compare.Compare(old.recorder, now.recorder)
		d.Notes = o.notModelled(old, now)
		differs = d.Flows.Changed > 0 || d.Elsewhere > 0
	}
	if o.json {
		err = printJSON(cmd.OutOrStdout(), &d)
	} else {
		err = d.write(forPeople(cmd))
	}
	if err == nil && differs {
		err = errDiffer
	}
	return err
}

// carryLog carries a packet of each flow that the log tells of.
func (o *diffOptions) carryLog(ctx context.Context, old, now *side) (l compare.LogLines, err error) {
	log, err := openLog(o.flows)
	if err != nil {
		return l, err
	}
	defer log.Close()
	return compare.CarryLog(ctx, o.flows, log, old.recorder, now.recorder)
}

// notModelled says what the flows do not show: what sources of events tell of.
func (o *diffOptions) notModelled(old, now *side) (notes []string) {
	var list []string
	for _, of := range []struct {
		path string
		x    *explain.Explainer
	}{{o.old, old.x}, {o.new, now.x}} {
		if names := slices.Concat(of.x.SessionsOf, of.x.RulesOf); len(names) > 0 {
			list = append(list, fmt.Sprintf("%s of %s", strings.Join(names, " and "), of.path))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return []string{"what sources of events tell of is not carried, neither sessions nor the rules of another firewall, and is missing in what is logged: " +
		strings.Join(list, "; ")}
}

// load loads one of the configurations. With a capture its plan is to be opened.
func (o *diffOptions) load(cmd *cobra.Command, path string) (*side, error) {
	s := new(side)
	options := plan.Options{Log: newLogger(cmd.ErrOrStderr(), slog.LevelError)}
	if o.capture != "" {
		options.Input = &plan.Input{Name: "capture", Configured: capture.Configure(capture.Config{Path: o.capture, Interface: o.iface}, nil)}
		options.Output = &plan.Output{Name: "flows", New: func(sdk.Env) sdk.Sink { return observer{s} }}
	}
	var problems bytes.Buffer
	p, err := loadPlan(cmd.Context(), &problems, planOptions{path: path}, options)
	if err != nil {
		fmt.Fprint(cmd.ErrOrStderr(), problems.String())
		if errors.Is(err, errReported) {
			fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: nothing was compared: %s has mistakes\n", path)
			return nil, err
		}
		return nil, fmt.Errorf("nothing was compared: %w", err)
	}
	s.planned, s.x = p, p.Explainer()
	s.recorder = compare.NewRecorder(s.x)
	return s, p.host.Close() // no plugin was started
}

// observer hands what a pipeline does to the recorder, which there is when the pipeline is opened.
type observer struct{ *side }

func (o observer) Before() hook.Instance                           { return o.recorder.Before() }
func (o observer) After() hook.Instance                            { return o.recorder.After() }
func (o observer) Hook(name string, h hook.Instance) hook.Instance { return o.recorder.Hook(name, h) }

// Run implements [sdk.Sink].
func (o observer) Run(ctx context.Context, stream sdk.Stream) error {
	return o.recorder.Run(ctx, stream)
}

// read carries the packets of the capture.
func (s *side) read(ctx context.Context) error {
	pl, err := pipeline.Open(ctx, s.Plan, pipeline.Options{CloseAtEnd: true, Observer: observer{s}})
	if err != nil {
		return err
	}
	if err := pl.Run(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return s.recorder.Err()
}

// indices are the numbers of elements in keys and messages: what stands before a rule changes them.
var indices = regexp.MustCompile(`\[\d+\]`)

// newWarnings returns the warnings that only the new configuration gives.
func newWarnings(old, now []config.Problem) []string {
	known := make(map[string]bool)
	name := func(p *config.Problem) string { return indices.ReplaceAllString(p.Key+": "+p.Message, "[]") }
	for i := range old {
		known[name(&old[i])] = true
	}
	list := []string{}
	for i := range now {
		if !known[name(&now[i])] {
			list = append(list, now[i].String())
		}
	}
	return list
}

// write writes the differences for people.
func (d *difference) write(w io.Writer) error {
	var b strings.Builder
	if len(d.Changes) == 0 {
		b.WriteString("the configurations say the same\n")
	}
	for i := range d.Changes {
		writeChange(&b, &d.Changes[i])
	}
	for _, text := range d.Warnings {
		fmt.Fprintf(&b, "new warning: %s\n", text)
	}
	for i := range d.Reordered {
		fmt.Fprintf(&b, "order matters: %s\n", &d.Reordered[i])
	}
	if d.More > 0 {
		fmt.Fprintf(&b, "order matters: for %d more pairs\n", d.More)
	}
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	if _, err := io.WriteString(w, b.String()); err != nil || d.Flows == nil {
		return err
	}
	return d.Flows.Write(w)
}

func writeChange(b *strings.Builder, c *config.Change) {
	fmt.Fprintf(b, "%-8s %s", c.What, c.Path)
	switch {
	case c.Elements && c.From != "" && c.To != "":
		fmt.Fprintf(b, ": - %s + %s", c.From, c.To)
	case c.Elements && c.From != "":
		fmt.Fprintf(b, ": - %s", c.From)
	case c.Elements:
		fmt.Fprintf(b, ": + %s", c.To)
	case c.From != "" && c.To != "":
		fmt.Fprintf(b, ": %s -> %s", c.From, c.To)
	case c.From+c.To != "":
		fmt.Fprintf(b, ": %s", c.From+c.To)
	}
	switch {
	case c.Old != nil && c.New != nil:
		fmt.Fprintf(b, " (%s -> %s)", c.Old, c.New)
	case c.Old != nil:
		fmt.Fprintf(b, " (%s)", c.Old)
	default:
		fmt.Fprintf(b, " (%s)", c.New)
	}
	b.WriteByte('\n')
}
