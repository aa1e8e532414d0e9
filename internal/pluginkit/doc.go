// Package pluginkit writes the module of a new plugin, and tests executables against docs/plugins.md.
//
// It implements the commands `pipelined plugin new` and `pipelined plugin test`. Plugins are run by internal/pluginhost; the
// package does not know concrete sinks.
package pluginkit
