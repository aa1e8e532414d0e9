// Package sinkcheck holds what the tests of the sinks of this module share beyond sdk/sinktest.
//
// It makes a sink of the text of its table, checks its sample and page, runs it as the daemon does, and benchmarks it.
//
// It does not know the destination of any sink. Only tests import it.
package sinkcheck
