// Package plugins tests sinks that run in processes of their own, with the real host and the built daemon.
//
// The sinks are the executables of this project and the examples.
package plugins
