// Package pluginkit is for authors of plugins: it writes the module of a new one, and tries any executable against the
// contract of docs/plugins.md, as `pipelined plugin new` and `pipelined plugin test` do.
//
// How a plugin is run is for internal/pluginhost to say; concrete sinks are unknown here.
package pluginkit
