package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/internal/terminal"
)

func newReload() *cobra.Command {
	var d daemonFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running pipeline read its configuration again, and say what came of it",
		Long: `reload has a running pipelined reopen its files and read its configuration again, as SIGHUP does, waits for the outcome, and
prints it, with the keys that have changed, and what the daemon's log warns of meanwhile. A configuration with a mistake, or with a change that needs a restart, is refused: the former one goes on, and the exit
status is 1.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return askReload(cmd, d, asJSON) },
	}
	d.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the outcome as JSON")
	return cmd
}

// askReload has the daemon read its configuration again.
func askReload(cmd *cobra.Command, d daemonFlags, asJSON bool) error {
	client, _, err := d.find(cmd.Context(), cmd)
	if err != nil {
		return err
	}
	o, err := client.Reload(cmd.Context())
	if err != nil {
		return err
	}
	out := forPeople(cmd)
	if asJSON {
		err = printJSON(out, o)
	} else {
		err = writeOutcome(out, o)
	}
	if !o.Taken {
		err = errors.Join(err, fmt.Errorf("refused, configuration %d goes on: %s", o.Number, terminal.Text(o.Error)))
	}
	return err
}

// writeOutcome says what came of a reload that was not refused, and what is wrong with the configuration.
func writeOutcome(w io.Writer, o control.Outcome) (err error) {
	for _, problem := range o.Problems {
		fmt.Fprintln(w, problem)
	}
	for _, warning := range o.Warnings {
		fmt.Fprintln(w, terminal.Text(warning))
	}
	switch {
	case !o.Taken:
		err = writeGaps(w, o.Gaps)
	case !o.Changed:
		_, err = fmt.Fprintf(w, "nothing has changed: configuration %d goes on\n", o.Number)
	default:
		for _, c := range o.Changes {
			fmt.Fprintln(w, terminal.Text(c))
		}
		if err = writeGaps(w, o.Gaps); err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "configuration %d runs now\n", o.Number)
	}
	return err
}

// writeGaps says which sources were opened again.
func writeGaps(w io.Writer, gaps []control.Gap) (err error) {
	for _, g := range gaps {
		_, err = fmt.Fprintf(w, "source %s was not read for %.1f ms\n", terminal.Text(g.Source), g.Seconds*1e3)
	}
	return err
}

// reloader reads the configuration again for the pipeline that runs.
type reloader struct {
	path     string
	problems io.Writer // of the configuration
	host     *pluginhost.Host
	log      *slog.Logger
	wanted   chan struct{} // a token for each request, and for those that come before it is served
	ended    chan struct{} // closed when none is served any more
	// endpoints are set before anything is asked for, and changed by reloads.
	endpoints *endpoints
	watcher   watcher

	mu   sync.Mutex
	asks []chan control.Outcome // those who wait for the outcome of the next
}

func newReloader(path string, problems io.Writer, host *pluginhost.Host, log *slog.Logger) *reloader {
	r := &reloader{path: path, problems: problems, host: host, log: log, wanted: make(chan struct{}, 1), ended: make(chan struct{})}
	r.watcher = watcher{path: path, log: log, request: r.request}
	return r
}

var errStopping = errors.New("the pipeline is stopping: its configuration is not read any more")

// request has the configuration read again, from the beginning if it is being read.
func (r *reloader) request() {
	select {
	case r.wanted <- struct{}{}:
	default:
	}
}

// ask is request, and waits for what comes of it.
func (r *reloader) ask(ctx context.Context) (control.Outcome, error) {
	select {
	case <-r.ended:
		return control.Outcome{}, errStopping
	default:
	}
	outcome := make(chan control.Outcome, 1)
	r.mu.Lock()
	r.asks = append(r.asks, outcome)
	r.mu.Unlock()
	r.request()
	select {
	case o := <-outcome:
		return o, nil
	case <-r.ended:
		return control.Outcome{}, errStopping
	case <-ctx.Done():
		return control.Outcome{}, ctx.Err()
	}
}

// run serves requests until ctx ends.
func (r *reloader) run(ctx context.Context, pl *pipeline.Pipeline) {
	defer close(r.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wanted:
			r.mu.Lock()
			asks := r.asks
			r.asks = nil
			r.mu.Unlock()
			if ctx.Err() != nil {
				return
			}
			outcome := r.reload(ctx, pl)
			for _, ask := range asks {
				ask <- outcome
			}
		}
	}
}

// reload reads the configuration and hands it to the pipeline. Whatever is wrong with it, the pipeline goes on with the one that it has.
func (r *reloader) reload(ctx context.Context, pl *pipeline.Pipeline) (o control.Outcome) {
	notifyReloading(r.log)
	defer func() {
		if ctx.Err() == nil { // else it is stopping, which the service manager has been told
			notify(r.log, daemon.SdNotifyReady)
		}
	}()
	var problems bytes.Buffer
	var warned notes
	came, err := r.try(ctx, pl, io.MultiWriter(r.problems, &problems), warned.beside(r.log))
	changed := err == nil && len(came.Changes)+len(came.Gaps) > 0 // one that says the same may open what could not be opened before
	o = control.Outcome{Taken: err == nil, Changed: changed, Number: pl.Configuration().Number}
	o.Changes, o.Warnings = changeLines(came.Changes), warned.take()
	for _, g := range came.Gaps {
		o.Gaps = append(o.Gaps, control.Gap{Source: g.Source, Seconds: g.Length.Seconds()})
	}
	for line := range strings.Lines(problems.String()) {
		o.Problems = append(o.Problems, strings.TrimSuffix(line, "\n"))
	}
	switch {
	case err != nil:
		o.Error = err.Error()
		r.log.Error("the configuration is not taken over; the former one goes on", "config", r.path, "err", err, "number", o.Number)
	case !changed:
		r.log.Info("nothing has changed in the configuration: the one that runs goes on", "config", r.path, "number", o.Number)
	default:
		r.log.Info("the configuration is taken over", "config", r.path, "number", o.Number, "changes", strings.Join(o.Changes, "; "))
	}
	return o
}

func (r *reloader) try(ctx context.Context, pl *pipeline.Pipeline, problems io.Writer, log *slog.Logger) (came pipeline.Outcome, err error) {
	if err := r.readable(); err != nil {
		pl.Refuse(err)
		return came, err
	}
	r.watcher.look()
	next := r.host.Next()
	p, err := loadPlan(ctx, problems, planOptions{
		path: r.path, daemon: true, startPlugins: true, pluginPatience: pluginPatience, starts: pl.Starts, host: next,
	}, plan.Options{Log: log, LookupInterface: lookupInterface, ZoneIDs: pl.ZoneIDs()})
	if err != nil {
		if errors.Is(err, errReported) {
			err = errors.New("it has mistakes: the log and pipelined check show them")
		}
		pl.Refuse(err)
		return came, err
	}
	if p.down != nil {
		log.Warn("a plugin does not start; its records wait in the ring", "err", p.down)
	}
	answering, err := r.endpoints.prepare(&p.File.Service, p.Hostname)
	if err != nil {
		next.Drop()
		pl.Refuse(err)
		return came, err
	}
	if came, err = pl.Reload(p.Plan); err != nil {
		next.Drop()
		return came, errors.Join(err, answering.drop())
	}
	answering.take()
	r.watcher.set(ctx, p.File.Service.Watch)
	if len(came.Changes) > 0 {
		warnAbsent(p.Plan, interfaceNames(), log)
	}
	r.host.Take(next, came.Sinks)
	return came, nil
}

// maxChanges is how many changes an outcome tells one by one.
const maxChanges = 200

// changeLines says what has changed, without values: they may be secret.
func changeLines(changes []config.Change) (lines []string) {
	for i, c := range changes {
		if i == maxChanges {
			return append(lines, fmt.Sprintf("and %d more", len(changes)-i))
		}
		lines = append(lines, c.What+" "+c.Path)
	}
	return lines
}

// readable returns an error if the configuration cannot be read a second time.
func (r *reloader) readable() error {
	info, err := os.Stat(r.path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file: it was read at the start, and is not read again", r.path)
	}
	return err
}

// notifyReloading tells the service manager that the configuration is read again, since when (sd_notify(3)).
func notifyReloading(log *slog.Logger) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		log.Warn("systemd cannot be notified", "err", err)
		return
	}
	notify(log, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1e3))
}
