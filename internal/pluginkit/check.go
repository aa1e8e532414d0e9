package pluginkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/sdk"
)

// Options say which plugin is tested, and by which checks.
type Options struct {
	Command    []string      // absolute path of the executable, and its arguments
	Config     []byte        // TOML: a sink's table, as [sinks.NAME] or bare; the plugin's own options and `process`
	ConfigName string        // for messages
	RuntimeDir string        // "" is the daemon's
	Records    int           // of the check with many records
	Patience   time.Duration // how long one check may take
	Slack      time.Duration // added to the times in which a plugin has to end or to answer; for tests on a busy machine
	Only       string        // run the checks whose names contain it
	Log        *slog.Logger  // what the plugin prints; nil discards
}

// Level is the severity of a check.
type Level string

const (
	Must   Level = "MUST"   // without it records are lost, or the daemon kills the process
	Should Level = "SHOULD" // without it the plugin works and causes trouble
)

// check is one check of a plugin.
type check struct {
	level Level
	name  string
	run   func(ctx context.Context, b *bench) error
}

// skipped is the reason for which a check does not apply.
type skipped string

func (s skipped) Error() string { return string(s) }

// Test runs every check and writes what passed, what failed and why. It returns an error if a MUST failed.
func Test(ctx context.Context, w io.Writer, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	table, err := findTable(&o)
	if err != nil {
		return err
	}
	var failed, flaws, passed int
	for i, c := range checks() {
		if !strings.Contains(c.name, o.Only) {
			continue
		}
		begin := time.Now()
		err := one(ctx, c, &o, table)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var skip skipped
		result := "pass"
		switch {
		case err == nil:
			passed++
		case errors.As(err, &skip):
			result = "skip"
		case c.level == Must:
			failed++
			result = "FAIL"
		default:
			flaws++
			result = "flaw"
		}
		if _, err := fmt.Fprintf(w, "%s  %-6s  %-66s %8v\n", result, c.level, c.name, time.Since(begin).Round(time.Millisecond)); err != nil {
			return err
		}
		if err != nil {
			fmt.Fprintf(w, "      %s\n", strings.ReplaceAll(err.Error(), "\n", "\n      "))
		}
		if i == 0 && failed > 0 {
			fmt.Fprintln(w, "the other rules are for a plugin that starts")
			break
		}
	}
	if _, err := fmt.Fprintf(w, "%d passed, %d failed, %d flaws\n", passed, failed, flaws); err != nil {
		return err
	}
	if failed > 0 {
		return sdk.Error("the plugin does not keep the contract")
	}
	return nil
}

// one runs a check with a host of its own, and sees to it that no process is left.
func one(ctx context.Context, c check, o *Options, table []string) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Patience, fmt.Errorf("not done within %v, more of which --timeout gives, as --records gives less to do", o.Patience))
	defer cancel()
	b := &bench{o: o, table: table}
	defer func() {
		err = errors.Join(err, b.close())
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}()
	return c.run(ctx, b)
}

// findTable returns the path of the sink's table in the configuration and looks for mistakes that are not the plugin's.
func findTable(o *Options) ([]string, error) {
	root, problems := config.ParseTable(o.ConfigName, o.Config)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	var path []string
	if sinks := root.Sub("sinks"); sinks != nil {
		names := sinks.Keys()
		if len(names) != 1 {
			return nil, fmt.Errorf("%s: want the table of one sink, there are %d", o.ConfigName, len(names))
		}
		path = []string{"sinks", names[0]}
	}
	b := &bench{o: o, table: path}
	_, err := b.open(pluginhost.Options{}, string(o.Config))
	return path, errors.Join(err, b.close())
}

// bench holds the hosts and sinks of one check, which are closed at its end.
type bench struct {
	o     *Options
	table []string
	hosts []*pluginhost.Host
}

// sink returns a sink of a new process, which is not started yet.
func (b *bench) sink() (*pluginhost.Sink, error) {
	return b.open(pluginhost.Options{}, string(b.o.Config))
}

func (b *bench) open(ho pluginhost.Options, text string) (*pluginhost.Sink, error) {
	ho.RuntimeDir, ho.Log, ho.Slack = b.o.RuntimeDir, b.o.Log, b.o.Slack
	h := pluginhost.New(ho)
	b.hosts = append(b.hosts, h)
	section, problems := config.ParseTable(b.o.ConfigName, []byte(text), b.table...)
	env := sdk.Env{Hostname: "test", Window: 1000, Warn: func(msg string, args ...any) { b.o.Log.Warn(msg, args...) }} //nolint:sloglint // the plugin words it
	sink := h.Named("test", b.o.Command...).Configure(section, env)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return sink.(*pluginhost.Sink), nil
}

func (b *bench) close() error {
	var errs []error
	for _, h := range b.hosts {
		errs = append(errs, h.Close())
	}
	b.hosts = nil
	return errors.Join(errs...)
}
