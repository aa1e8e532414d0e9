// Package plugins holds sinks in processes of their own against the real host and the built daemon: those of this project
// and the examples.
package plugins
