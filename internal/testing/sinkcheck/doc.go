// Package sinkcheck is what the tests of our own sinks share beyond sdk/sinktest: a sink from the text of its table, the
// checks of samples and pages, running it as the daemon does, and a benchmark.
//
// It does not know the destination of any sink. Only tests import it.
package sinkcheck
