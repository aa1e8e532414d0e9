// Package sinkcheck is what the tests of our own sinks share beyond sdk/sinktest: a sink from the text of its table, the
// checks of samples and pages, running it as the daemon does, and a benchmark.
//
// What lives here: that. What never may: knowledge of one sink's destination, and anything but tests importing it.
package sinkcheck
