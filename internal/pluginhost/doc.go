// Package pluginhost runs sinks that are executables and makes them ordinary sinks of the daemon.
//
// A [Host] offers plugins: Exec for plugin = "exec", and one for each executable in the plugin directory. Their constructors
// return [Sink]s. A sink's Run starts the process if none is alive, opens the stream of the protocol (sdk/sinkplugin), sends
// batches, and receives acknowledgements, each of which is checked against what was sent. When Run returns, core/deliver
// rewinds, waits and calls it again, as with every sink; the process stays alive for that unless it is broken, and ends with
// the sink's Close.
//
// A plugin that fails delays no records but those in its own ring. It may hang, spin, flood its standard error, break the
// protocol, die, or leave processes behind. How a process is started, confined and ended is in internal/process; here are
// the handshake (go-plugin), the configuration, health, delivery with credits, listings of sessions, the restart policy,
// and status.
//
// The package knows no concrete sink and has no queue of its own.
package pluginhost
