// Package pluginkit is for authors of plugins: it writes the module of a new one, and tries any executable against the
// contract of docs/plugins.md, as `pipelined plugin new` and `pipelined plugin test` do.
//
// What lives here: the templates and the checks. What never may: how a plugin is run (core/pluginhost), and concrete
// sinks.
package pluginkit
