package pluginhost

import (
	_ "embed"
	"encoding/json"
	"time"

	kit "github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/process"
	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var execSample string

// namedSample is the sample of an executable in the plugin directory. It does not show the options of the plugin itself.
const namedSample = `# The sink %[1]s has options of its own: %[2]s --sample prints them.
[sinks.NAME]
plugin = %[1]q

# How the process runs. Everything has a default.
[sinks.NAME.process]
env = ["LANG=C.UTF-8"]
`

// options say which process a sink is.
type options struct {
	process.Spec
	protocolOptions
	prefix string // of the plugin's own keys in the sink's table: "config" or ""
}

// processOptions are the keys that say how a plugin's process runs.
type processOptions struct {
	process.Options
	protocolOptions
}

// protocolOptions say how the host speaks with a process.
type protocolOptions struct {
	MTLS   bool          `toml:"mtls"`
	Health time.Duration `toml:"health"`
}

func defaultOptions() processOptions {
	return processOptions{protocolOptions: protocolOptions{MTLS: true, Health: 10 * time.Second}}
}

// Limits of the options.
const (
	minHealth = 100 * time.Millisecond
	maxHealth = 10 * time.Minute
)

// newOptions returns the options of a process that runs a command. Those of a named plugin stand in a table of their own.
func newOptions(t processOptions, command []string, subtable, prefix string) options {
	return options{
		Spec:            process.Spec{Options: t.Options, Command: command, Table: subtable, Reserved: []string{"PLUGIN_"}}, // go-plugin's
		protocolOptions: t.protocolOptions, prefix: prefix,
	}
}

// decodeExec reads the table of plugin = "exec": the process's keys, and the plugin's own in `config`.
func decodeExec(cfg sdk.Config) (o options, config string, ok bool) {
	t := struct {
		processOptions
		Command []string       `toml:"command"`
		Config  map[string]any `toml:"config"`
	}{processOptions: defaultOptions()}
	ok = cfg.Decode(&t)
	o = newOptions(t.processOptions, t.Command, "", "config")
	if ok && len(t.Command) == 0 {
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
	t := defaultOptions()
	switch tree := own["process"].(type) {
	case nil:
	case map[string]any:
		d := table.Decoder{Report: func(key, message string) { cfg.Errorf("process."+key, "%s", message) }}
		ok = d.Decode(tree, &t) && ok
	default:
		cfg.Errorf("process", "must be a table, not %s", table.Describe(tree))
		ok = false
	}
	delete(own, "process")
	o = newOptions(t, command, "process", "")
	ok = ok && o.check(cfg, "plugin")
	config, good := toJSON(cfg, "", own)
	return o, config, ok && good
}

// check records every mistake in the values; one in the executable is recorded at key.
func (o *options) check(cfg sdk.Config, key string) bool {
	ok := o.Spec.Check(cfg, key)
	c := kit.Check(cfg)
	c.Duration(o.Health, o.Key("health"), minHealth, maxHealth)
	return c.OK() && ok
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
