package pluginhost

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var execSample string

// namedSample is the sample of an executable in the plugin directory; its own options are its own affair.
const namedSample = `# The sink %[1]s has options of its own: %[2]s --sample prints them.
[sinks.NAME]
plugin = %[1]q

# How the process runs. Everything has a default.
[sinks.NAME.process]
env = ["LANG=C.UTF-8"]
`

// options say which process a sink is.
type options struct {
	process
	command []string
	prefix  string // of the plugin's own keys in the sink's table: "config" or ""
	shown   string // of the process's keys: "" or "process"
	uid     *uint32
	gid     *uint32
}

// process is how a plugin's process runs.
type process struct {
	SHA256 string        `toml:"sha256"`
	Env    []string      `toml:"env"`
	User   string        `toml:"user"`
	Group  string        `toml:"group"`
	Memory size          `toml:"memory"`
	CPU    float64       `toml:"cpu"`
	MTLS   bool          `toml:"mtls"`
	Health time.Duration `toml:"health"`
	Shared bool          `toml:"shared_directory"`
}

func defaultProcess() process { return process{MTLS: true, Health: 10 * time.Second} }

// Limits of the options.
const (
	minHealth = 100 * time.Millisecond
	maxHealth = 10 * time.Minute
	minMemory = 16 << 20
	maxCPU    = 1024
)

// decodeExec reads the table of plugin = "exec": the process's keys, and the plugin's own in `config`.
func decodeExec(cfg sdk.Config) (o options, config string, ok bool) {
	t := struct {
		process
		Command []string       `toml:"command"`
		Config  map[string]any `toml:"config"`
	}{process: defaultProcess()}
	ok = cfg.Decode(&t)
	o = options{process: t.process, command: t.Command, prefix: "config"}
	if ok && len(o.command) == 0 {
		cfg.Errorf("command", "missing: the executable and its arguments")
		ok = false
	}
	ok = ok && o.check(cfg, "command")
	config, good := toJSON(cfg, o.prefix, t.Config)
	return o, config, ok && good
}

// decodeNamed reads the table of an executable in the plugin directory: the process's keys in `process`, and all others are the
// plugin's own, as if it were compiled in.
func decodeNamed(cfg sdk.Config, command []string) (o options, config string, ok bool) {
	own := make(map[string]any)
	ok = cfg.Decode(&own)
	o = options{process: defaultProcess(), command: command, shown: "process"}
	switch t := own["process"].(type) {
	case nil:
	case map[string]any:
		d := table.Decoder{Report: func(key, message string) { cfg.Errorf("process."+key, "%s", message) }}
		ok = d.Decode(t, &o.process) && ok
	default:
		cfg.Errorf("process", "must be a table, not %s", table.Describe(t))
		ok = false
	}
	delete(own, "process")
	ok = ok && o.check(cfg, "plugin")
	config, good := toJSON(cfg, "", own)
	return o, config, ok && good
}

// toJSON returns the plugin's own table as it is handed over.
func toJSON(cfg sdk.Config, key string, own map[string]any) (string, bool) {
	if own == nil {
		own = make(map[string]any)
	}
	text, err := json.Marshal(own)
	if err != nil { // inf and nan
		cfg.Errorf(key, "cannot be handed to a plugin: %v", err)
		return "", false
	}
	return string(text), true
}

// key returns a key of the process as it stands in the sink's table.
func (o *options) key(name string) string {
	if o.shown == "" {
		return name
	}
	return o.shown + "." + name
}

// check records every mistake in the values and resolves names. path is the key that the executable comes from.
func (o *options) check(cfg sdk.Config, path string) bool {
	good := true
	mistake := func(key, form string, args ...any) {
		cfg.Errorf(key, form, args...)
		good = false
	}
	if !filepath.IsAbs(o.command[0]) {
		mistake(path, "must be an absolute path, not %q: nothing is searched for", spelling.Shorten(o.command[0]))
	} else if err := o.executable(); err != nil {
		mistake(path, "%v", err)
	} else if o.SHA256 != "" {
		f, err := o.open()
		if err != nil {
			mistake(o.key("sha256"), "%v", err)
		}
		_ = f.Close() // it was only read
	}
	for i, e := range o.Env {
		if name, _, _ := strings.Cut(e, "="); !validEnv(name) {
			mistake(o.key("env["+strconv.Itoa(i)+"]"), `must be "NAME=value", or "NAME" to pass on the daemon's own, not %q`, spelling.Shorten(e))
		}
	}
	if o.Memory != 0 && o.Memory < minMemory {
		mistake(o.key("memory"), "must be at least 16MiB")
	}
	if !(o.CPU >= 0 && o.CPU <= maxCPU) || o.CPU > 0 && o.CPU < 0.01 {
		mistake(o.key("cpu"), "must be how many processors it may use, 0.01 to %d, or 0 for all, not %v", maxCPU, o.CPU)
	}
	if o.Health < minHealth || o.Health > maxHealth {
		mistake(o.key("health"), "must be %v to %v, not %v", minHealth, maxHealth, o.Health)
	}
	if err := o.resolveUser(); err != nil {
		mistake(o.key("user"), "%v", err)
	} else if err := o.resolveGroup(); err != nil {
		mistake(o.key("group"), "%v", err)
	} else if (o.uid != nil || o.gid != nil) && os.Geteuid() != 0 {
		cfg.Warnf(o.key("user"), "the daemon does not run as root: it can only start processes as another user with CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_KILL")
	}
	return good
}

// validEnv reports whether an environment variable may be set. Those of the handshake are the host's.
func validEnv(name string) bool {
	handshake := strings.HasPrefix(name, "PLUGIN_") || strings.HasPrefix(name, "PIPELINED_")
	return name != "" && !handshake && !strings.ContainsAny(name, " \x00")
}

func (o *options) resolveUser() error {
	if o.User == "" {
		return nil
	}
	u, err := user.Lookup(o.User)
	if err != nil {
		if u, err = user.LookupId(o.User); err != nil {
			return fmt.Errorf("there is no user %q", spelling.Shorten(o.User))
		}
	}
	o.uid, o.gid = id(u.Uid), id(u.Gid)
	return nil
}

func (o *options) resolveGroup() error {
	if o.Group == "" {
		return nil
	}
	g, err := user.LookupGroup(o.Group)
	if err != nil {
		if g, err = user.LookupGroupId(o.Group); err != nil {
			return fmt.Errorf("there is no group %q", spelling.Shorten(o.Group))
		}
	}
	o.gid = id(g.Gid)
	return nil
}

func id(text string) *uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil // not on Linux
	}
	v := uint32(n)
	return &v
}

// environment returns the environment that the configuration asks for, and nothing else.
func (o *options) environment() []string {
	var env []string
	for _, e := range o.Env {
		if !strings.Contains(e, "=") {
			value, ok := os.LookupEnv(e)
			if !ok {
				continue
			}
			e += "=" + value
		}
		env = append(env, e)
	}
	return env
}

// unwrapPath takes the path out of an error.
func unwrapPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// size is a number of bytes: "256MiB" is 2^28, "256MB" 256 million.
type size int64

func (s *size) UnmarshalText(text []byte) error {
	units := map[string]int64{"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
	digits := strings.TrimRight(string(text), "BKMGik")
	factor, known := units[string(text[len(digits):])]
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	if err != nil || !known || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf(`want a size such as "256MiB", got %q`, spelling.Shorten(string(text)))
	}
	*s = size(n * factor)
	return nil
}
