package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/sdk/event"
)

func newRun() *cobra.Command {
	var path, level string
	var legend bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the pipeline until SIGTERM or SIGINT",
		Long: `run starts the pipeline that the configuration describes. On SIGTERM or SIGINT it stops the sources, delivers what is in
flight for as long as service.drain allows, and prints the ledger; a second signal ends the draining. SIGHUP reopens
files, and reads the configuration again: sources, sinks, zones, hooks, rates and timeouts are changed while it runs. A configuration with a mistake,
or with a change that needs a restart, is refused, and the former one goes on. A destination that is down does not keep the pipeline
from starting: its records wait. Nor does a plugin that does not start; one that refuses its options does.

The pipeline also ends when its sources do, as a capture does. The exit status is 0 also if records had to be abandoned
when service.drain was over: the ledger says how many.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd, path, level, legend) },
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().BoolVar(&legend, "legend", false, "say before the ledger what its words mean")
	fixedCompletions(cmd, map[string][]string{"log-level": levels})
	return cmd
}

// pluginPatience limits how long the daemon's start waits for plugins, which start all at once. Later starts of a plugin may
// take longer.
const pluginPatience = 5 * time.Second

func runDaemon(cmd *cobra.Command, path, level string, legend bool) error {
	lowest, err := parseLevel(level)
	if err != nil {
		return err
	}
	log := newLogger(cmd.ErrOrStderr(), lowest)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP) // would end the daemon while it starts
	defer signal.Stop(signals)
	// Until the configuration is read, SIGTERM and SIGINT end the program: reading it may block, as from a pipe, and does not end with a
	// context.
	starting, stopStarting := cmd.Context(), func() {}
	defer func() { stopStarting() }()
	loaded := func(ctx context.Context) context.Context {
		signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
		starting, stopStarting = signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
		return starting
	}
	read, _ := config.Fingerprint(path) // of what cannot be read twice there is none, and need not be
	p, err := loadPlan(cmd.Context(), cmd.ErrOrStderr(), planOptions{
		path: path, daemon: true, startPlugins: true, pluginPatience: pluginPatience, loaded: loaded,
	}, plan.Options{Log: log, LookupInterface: lookupInterface})
	if err != nil {
		return err
	}
	defer func() { // also if the pipeline does not open
		if err := p.host.Close(); err != nil {
			log.Warn("plugins leave something behind", "err", err)
		}
	}()
	if starting.Err() != nil {
		log.Info("stopped before it began")
		return nil
	}
	stopStarting()
	if p.down != nil {
		log.Warn("a plugin does not start; its records wait in the ring", "err", p.down)
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	o := pipeline.Options{FollowHost: true, Changes: serviceKeys, ReceivedPackets: receivedPackets}
	if dir := stateDir(p.File.Service.State); dir != "" {
		if o.State, err = pipeline.OpenState(dir, log); err != nil {
			return err
		}
		defer func() { _ = o.State.Close() }() // nothing is written any more
	}
	warnAbsent(p.Plan, interfaceNames(), log)
	pl, err := pipeline.Open(ctx, p.Plan, o)
	if err != nil {
		return err
	}
	reloads := newReloader(path, cmd.ErrOrStderr(), p.host, log)
	reloads.endpoints = newEndpoints(pl, path, reloads, log)
	defer reloads.endpoints.close()
	answering, err := reloads.endpoints.prepare(&p.File.Service, p.Hostname)
	if err != nil {
		cancel()
		return errors.Join(err, pl.Run(ctx))
	}
	answering.take()

	done := make(chan error, 1)
	go func() { done <- pl.Run(ctx) }()
	notify(log, daemon.SdNotifyReady)
	log.Info("running", "config", path, "version", version)
	var reloading sync.WaitGroup
	reloads.watcher.seen = read
	reloads.watcher.set(ctx, p.File.Service.Watch)
	reloading.Go(func() { reloads.run(ctx, pl) })
	err = supervise(pl, signals, done, cancel, reloads, log)
	cancel()
	reloading.Wait()
	reloads.watcher.running.Wait()
	if legend {
		err = errors.Join(err, metrics.WriteLegend(cmd.ErrOrStderr()))
	}
	return errors.Join(err, pl.WriteLedger(cmd.ErrOrStderr()))
}

// warnAbsent says which interfaces of the configuration are not among those of the host. Of optional ones their source says it.
func warnAbsent(p *plan.Plan, host []string, log *slog.Logger) {
	notes, _ := p.Absent(host)
	for _, note := range notes {
		log.Warn("an interface of the configuration is not there", "note", note)
	}
}

// stateDir returns the directory of the configuration, or the first that the service manager has made, "" for none.
func stateDir(configured string) string {
	if configured != "" {
		return configured
	}
	first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	return first
}

// sameSignal is how long after the first signal to stop another one is taken for the same: timeout(1) signals the process and its group,
// and a terminal signals what a wrapper signals as well. Nobody presses Ctrl-C twice as fast.
const sameSignal = 100 * time.Millisecond

// supervise waits for the pipeline to end, and passes on signals and the watchdog meanwhile.
func supervise(pl *pipeline.Pipeline, signals <-chan os.Signal, done <-chan error, cancel func(), reloads *reloader, log *slog.Logger) error {
	var watchdog <-chan time.Time
	if every, err := daemon.SdWatchdogEnabled(false); err == nil && every > 0 {
		ticker := time.NewTicker(every / 3)
		defer ticker.Stop()
		watchdog = ticker.C
	}
	var stopping time.Time // since when, zero for not
	for {
		select {
		case err := <-done:
			if stopping.IsZero() {
				notify(log, daemon.SdNotifyStopping)
			}
			return err
		case <-watchdog:
			if err := pl.Health(); err != nil {
				log.Error("not healthy: the watchdog is not notified", "err", err)
				continue
			}
			notify(log, daemon.SdNotifyWatchdog)
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP:
				log.Info("reopening files and reading the configuration")
				pl.Reopen()
				reloads.request()
			case stopping.IsZero():
				stopping = time.Now()
				notify(log, daemon.SdNotifyStopping)
				log.Info("stopping", "signal", sig)
				cancel()
			case time.Since(stopping) >= sameSignal:
				log.Warn("second signal: not draining any longer")
				pl.Hurry()
			}
		}
	}
}

// notify sends a state to the service manager, if there is one (sd_notify(3)).
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd cannot be notified", "err", err)
	}
}

func kindNames() (names []string) {
	for _, k := range event.Kinds() {
		names = append(names, k.String())
	}
	return names
}

// lookupInterface returns the kernel's index of a network interface and all its names. A configuration may use any of them.
func lookupInterface(name string) (index uint32, names []string, ok bool) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0, nil, false
	}
	attrs := link.Attrs()
	return uint32(attrs.Index), append([]string{attrs.Name}, attrs.AltNames...), true
}

// receivedPackets returns how many packets the kernel has received by a network interface.
func receivedPackets(name string) (n uint64, ok bool) {
	link, err := netlink.LinkByName(name)
	if err != nil || link.Attrs().Statistics == nil {
		return 0, false
	}
	return link.Attrs().Statistics.RxPackets, true
}

// interfaceNames returns all names of all network interfaces, none if they cannot be listed.
func interfaceNames() (names []string) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil
	}
	for _, link := range links {
		names = append(append(names, link.Attrs().Name), link.Attrs().AltNames...)
	}
	return names
}
