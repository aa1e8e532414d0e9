package sdk

// Config is a plugin's own table of the configuration file.
type Config interface {
	// Decode reads the table into the struct that into points to, by its `toml` tags; fields that the table does not set
	// keep their values, so that defaults are what the struct held before. Every unknown key and every value of a wrong
	// type is recorded with its line and column; Decode reports whether there was none. A type with an UnmarshalTOML or
	// UnmarshalText method decodes itself.
	Decode(into any) bool

	// Errorf records a mistake at a key of the table, "" for the table itself. Keys of nested tables are joined with dots;
	// an element of an array has its index in brackets: "term[2].from.protocol". Of a key whose value Decode could not read,
	// nothing more is recorded: a plugin goes on after Decode and checks what could be read, so that one run shows every
	// mistake.
	Errorf(key, format string, args ...any)

	// Warnf records a warning at a key: its value is allowed, and probably a mistake.
	Warnf(key, format string, args ...any)

	// Name returns the component's name: "audit" for [sinks.audit].
	Name() string
}

// Plugin is what a program registers to offer a component of one family: a source, a hook or a sink. E is what the
// daemon tells the component about itself, C what the component's table of the configuration becomes.
type Plugin[E, C any] struct {
	Name    string // value of the key plugin
	Summary string // one line, printed by `pipelined plugins`
	Sample  string // a commented configuration that loads, printed by `pipelined sample NAME`

	// Configure reads the table and checks it. It records every mistake in cfg, and touches no device, file or
	// destination: `pipelined check` calls it. Its result is used only if no mistake was recorded.
	Configure func(cfg Config, env E) C
}

// SinkPlugin is a plugin that offers a sink.
type SinkPlugin = Plugin[Env, Sink]

// Env holds what a sink may know about the daemon that runs it.
type Env struct {
	Hostname string // HOSTNAME of syslog messages
	// Window is how many records may be in flight whatever their kinds: the lowest ceiling of the sink's ring. A sink that
	// waits for more records than that before it acknowledges any may wait for ever. 0 is unknown.
	Window int
	Warn   func(msg string, args ...any) // logs a warning, with key-value pairs as in log/slog; safe for concurrent use
}
