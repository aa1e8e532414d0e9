package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rtflow/pipelined/internal/process"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// Prefix begins the names of executables in the plugin directory: pipelined-sink-NAME is plugin = "NAME".
const Prefix = "pipelined-sink-"

// Options are what a host is built from.
type Options struct {
	Log        *slog.Logger // nil discards
	RuntimeDir string       // where sockets live; "" is the first of what [RuntimeDir] names
	// Adopt makes this process the parent of whatever a plugin leaves behind, so that it can be found and killed. It is for a
	// program that starts no processes but plugins.
	Adopt   bool
	Version int // of the protocol; 0 is the one there is. For tests of plugins
	// Slack is added to the times in which a run and a process have to end. For tests of plugins on a busy machine.
	Slack time.Duration
}

// Host runs plugin processes. Nothing is started or created before the first process.
type Host struct {
	log       *slog.Logger
	version   int
	timing    timing
	processes *process.Supervisor
	number    int // of the host, among those of a daemon

	mu    sync.Mutex
	sinks []*Sink
}

// timing holds the durations that the host waits. Tests shorten them.
type timing struct {
	start     time.Duration // for a process to say where it listens, and to take its configuration
	stop      time.Duration // for a run to end when it is told to
	shutdown  time.Duration // for a process to end when it is told to
	steady    time.Duration // after this long a process that does nothing wrong counts as well
	failures  uint32        // in a row before the breaker opens
	cooldown  time.Duration // for which it stays open
	lists     int           // of the sessions that a plugin may begin per second, beyond listBurst at once
	callEvery time.Duration // between health calls; 0: a third of what the configuration allows for an answer
}

func defaultTiming() timing {
	return timing{
		start: 15 * time.Second, stop: 500 * time.Millisecond, shutdown: sinkv1.EndTime, steady: 30 * time.Second,
		failures: 5, cooldown: 30 * time.Second, lists: 1,
	}
}

// listBurst is how many lists of sessions a plugin may begin at once.
const listBurst = 16

// New returns a host.
func New(o Options) *Host {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Version == 0 {
		o.Version = sinkv1.Version
	}
	runtimeDir := RuntimeDir
	if o.RuntimeDir != "" {
		runtimeDir = func() (string, error) { return o.RuntimeDir, nil }
	}
	timing := defaultTiming()
	timing.stop += o.Slack
	timing.shutdown += o.Slack
	return &Host{
		log: o.Log, version: o.Version, timing: timing,
		processes: process.New(process.Config{Log: o.Log, RuntimeDir: runtimeDir, SocketDir: socketDir, Adopt: o.Adopt}),
	}
}

// Next returns a host for another configuration of the same daemon. [Host.Take] follows, or [Host.Drop]. Calls must not overlap.
func (h *Host) Next() *Host {
	h.number++
	return &Host{log: h.log, version: h.version, timing: h.timing, processes: h.processes, number: h.number}
}

// Take takes over the sinks of these names from a host that Next has returned, and drops that one. Sinks of its own that are closed
// are forgotten.
func (h *Host) Take(next *Host, names []string) {
	next.mu.Lock()
	taken := slices.Clone(next.sinks)
	next.sinks = slices.DeleteFunc(next.sinks, func(s *Sink) bool { return slices.Contains(names, s.name) })
	next.mu.Unlock()
	taken = slices.DeleteFunc(taken, func(s *Sink) bool { return !slices.Contains(names, s.name) })
	h.mu.Lock()
	h.sinks = append(slices.DeleteFunc(h.sinks, (*Sink).isClosed), taken...)
	h.mu.Unlock()
	next.Drop()
}

// Drop closes the sinks of a host that Next has returned.
func (h *Host) Drop() {
	h.mu.Lock()
	sinks := h.sinks
	h.mu.Unlock()
	closeAll(sinks)
}

// socketDir begins go-plugin's name for the directory of a process's socket; a random number follows.
const socketDir = "plugin-dir"

// RuntimeDir returns where sockets are if the configuration does not say: what systemd calls the service's runtime
// directory, /run/pipelined for root, or a directory in the user's own runtime directory.
func RuntimeDir() (string, error) {
	if dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); dir != "" {
		return filepath.Join(dir, "plugins"), nil
	}
	if os.Geteuid() == 0 {
		return "/run/pipelined/plugins", nil
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "pipelined"), nil
	}
	return "", errors.New("no directory for sockets of plugins: set service.runtime_dir")
}

// Exec is the sink plugin "exec": the executable that the configuration names.
func (h *Host) Exec() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:    "exec",
		Summary: "an executable of yours that speaks the sink protocol",
		Sample:  execSample,
		Configure: func(cfg sdk.Config, env sdk.Env) sdk.Sink {
			o, config, ok := decodeExec(cfg)
			if !ok {
				return nil
			}
			return h.add(newSink(h, cfg, env, o, config))
		},
	}
}

// Discover returns a sink plugin for each executable pipelined-sink-NAME in the directory, but for names that are taken.
// A directory that is not there has none.
func (h *Host) Discover(dir string, taken []string) ([]sdk.SinkPlugin, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("the plugin directory: %w", err)
	}
	var found []sdk.SinkPlugin
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), Prefix)
		path := filepath.Join(dir, e.Name())
		if !ok || name == "" {
			continue
		}
		if process.CheckExecutable(path) != nil {
			continue
		}
		if slices.Contains(taken, name) {
			h.log.Warn("a plugin has the name of a sink that is compiled in, which is used", "plugin", path)
			continue
		}
		found = append(found, h.Named(name, path))
	}
	return found, nil
}

// Named is the sink plugin of an executable and its arguments, as if the executable stood in the plugin directory: its own
// options are those of the sink's table, and how it runs stands in `process`.
func (h *Host) Named(name string, command ...string) sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:    name,
		Summary: "the executable " + command[0],
		Sample:  fmt.Sprintf(namedSample, name, command[0]),
		Configure: func(cfg sdk.Config, env sdk.Env) sdk.Sink {
			o, config, ok := decodeNamed(cfg, command)
			if !ok {
				return nil
			}
			return h.add(newSink(h, cfg, env, o, config))
		},
	}
}

func (h *Host) add(s *Sink) *Sink {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sinks = append(h.sinks, s)
	return s
}

// Configure starts the processes of the sinks of these names and hands them their configuration. What they have to say
// about it is recorded where it stands in the configuration. A process that does not start is a failure like any later
// one, which Run tries again: the error says which.
func (h *Host) Configure(ctx context.Context, names []string) error {
	h.mu.Lock()
	sinks := slices.DeleteFunc(slices.Clone(h.sinks), func(s *Sink) bool { return !slices.Contains(names, s.name) })
	h.mu.Unlock()
	var wg sync.WaitGroup
	found := make([]error, len(sinks))
	for i, s := range sinks {
		wg.Go(func() { _, found[i] = s.acquire(ctx) })
	}
	wg.Wait()
	for i, err := range found { // the configuration takes problems of one goroutine only
		found[i] = sinks[i].report(err)
	}
	return errors.Join(found...)
}

// Unchecked returns the names of the sinks whose plugins have not checked their configuration.
func (h *Host) Unchecked() (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sinks {
		if s.stats.starts.Load() == 0 {
			names = append(names, s.name)
		}
	}
	return names
}

// Sweep removes what daemons that are gone have left behind: processes of plugins and their sockets.
func (h *Host) Sweep() { h.processes.Sweep() }

// Close ends every process that is still alive. No sink is used after it.
func (h *Host) Close() error {
	h.mu.Lock()
	sinks := h.sinks
	h.mu.Unlock()
	closeAll(sinks)
	return h.processes.Close()
}

func closeAll(sinks []*Sink) {
	var wg sync.WaitGroup
	for _, s := range sinks {
		wg.Go(func() { _ = s.Close() }) // it returns no error
	}
	wg.Wait()
}
