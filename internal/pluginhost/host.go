package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// Prefix begins the names of executables in the plugin directory: pipelined-sink-NAME is plugin = "NAME".
const Prefix = "pipelined-sink-"

// Options are what a host is built from.
type Options struct {
	Log        *slog.Logger // nil discards
	RuntimeDir string       // where sockets live; "" is the first of what [RuntimeDir] names
	// Adopt makes this process the parent of whatever a plugin leaves behind (PR_SET_CHILD_SUBREAPER), so that it can be found
	// and killed. It is for a process that starts no others but plugins.
	Adopt   bool
	Version int // of the protocol; 0 is the one there is. For tests of plugins
}

// Host runs plugin processes. Nothing is started or created before the first process.
type Host struct {
	log     *slog.Logger
	version int
	base    string
	timing  timing
	cgroups cgroups
	adopted *adopted

	mu       sync.Mutex
	sinks    []*Sink
	instance *instance // nil until the first process
	closed   bool
}

// timing is how long the host waits for what. Tests shorten it.
type timing struct {
	start     time.Duration // for a process to say where it listens, and to take its configuration
	stop      time.Duration // for a run to end when it is told to
	shutdown  time.Duration // for a process to end when it is told to
	steady    time.Duration // after this long a process that does nothing wrong counts as well
	failures  uint32        // in a row before the breaker opens
	cooldown  time.Duration // for which it stays open
	logBytes  int           // of a plugin's output that are read per second
	logLines  int           // of it that are logged per second
	lists     int           // of the sessions that a plugin may begin per second, beyond listBurst at once
	callEvery time.Duration // between health calls; 0: a third of what the configuration allows for an answer
}

func defaultTiming() timing {
	return timing{
		start: 15 * time.Second, stop: 500 * time.Millisecond, shutdown: sinkv1.EndTime, steady: 30 * time.Second,
		failures: 5, cooldown: 30 * time.Second, logBytes: 1 << 20, logLines: 10, lists: 1,
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
	return &Host{
		log: o.Log, version: o.Version, base: o.RuntimeDir, timing: defaultTiming(), cgroups: cgroups{proc: "/proc"},
		adopted: newAdopted(o.Adopt, o.Log),
	}
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
		if executable(path) != nil {
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

// Named is the sink plugin of an executable and its arguments, as if the executable stood in the plugin directory: its own options
// are those of the sink's table, and how it runs stands in `process`.
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

// executable says what is wrong with a file that should be one, nil if nothing is.
func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, unwrapPath(err))
	}
	return startable(path, info)
}

func startable(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is no executable file", path)
	}
	return nil
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

// Unchecked returns the names of the sinks whose plugins have not seen their configuration.
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
func (h *Host) Sweep() {
	base, err := h.runtimeDir()
	if err != nil {
		return // without a place for sockets none was left; who needs one hears of it
	}
	if err := sweep(base, h.cgroups, h.log); err != nil {
		h.log.Warn("not everything that daemons have left behind could be removed", "err", err)
	}
}

// dir returns the directory for the sockets of this daemon, which the first call creates.
func (h *Host) dir() (*instance, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errStopping
	}
	if h.instance != nil {
		return h.instance, nil
	}
	base, err := h.runtimeDir()
	if err != nil {
		return nil, err
	}
	h.instance, err = newInstance(base)
	return h.instance, err
}

func (h *Host) runtimeDir() (string, error) {
	if h.base != "" {
		return h.base, nil
	}
	return RuntimeDir()
}

// Close ends every process that is still alive. No sink is used after it.
func (h *Host) Close() error {
	h.mu.Lock()
	sinks, in := h.sinks, h.instance
	h.closed, h.instance = true, nil
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range sinks {
		wg.Go(func() { _ = s.Close() }) // it never fails
	}
	wg.Wait()
	if in == nil {
		return nil
	}
	h.adopted.sweep(true)
	_, err := killMarked(in.path) // children that have left their process group
	return errors.Join(err, in.close())
}
