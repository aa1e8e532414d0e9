// Package pluginhost runs sinks that are executables: it starts them, checks what they are, feeds them, survives them,
// and hands them to the rest of the daemon as ordinary sinks.
//
// A [Host] offers plugins: Exec for plugin = "exec", and one for each executable in the plugin directory. What their
// constructors return are [Sink]s. A sink's Run starts the process if none is alive, opens the stream of the protocol
// (sdk/sinkplugin) and pumps: batches down, acknowledgements up, each of them checked against what was sent. When Run
// returns, core/deliver rewinds, waits and calls it again, as with every sink; the process stays alive for that unless
// it is broken, and ends with the sink's Close.
//
// Whatever a plugin does concerns its own ring. It may hang, spin, flood its standard error, answer nonsense, die, or
// leave children behind: each of them is bounded here, and pinned by a test. Its process has no capabilities and inherits
// nothing (privileges.go); its executable is one that nobody else can replace (executable.go); what it leaves behind is
// found as a child of the daemon (adopted.go).
//
// The package knows no concrete sink and has no queue of its own.
package pluginhost
