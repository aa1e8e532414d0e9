// Package sinktest tests sinks: it has a stream that checks the contract, realistic records, and conformance tests.
//
// A [Stream] hands records to a sink, notes which are acknowledged, and reports every breach of the contract of package
// sdk. A test looks like this:
//
//	s := sinktest.NewStream(t)
//	s.Append(sinktest.Records(1, 1000)...)
//	s.Drain()
//	if err := s.Run(ctx, sink); err != nil { … }
//	// now look at what the destination has
//
// Calling Run again is what the daemon does after a failure: the stream starts over behind the last acknowledged record.
// [Stream.Evict] and [Stream.EvictKinds] do between two runs what a ring with overflow = "evict" does.
//
// [Config] makes the configuration of a sink, and [Conform] runs the checks that every sink has to pass.
//
// It imports nothing of this module outside sdk but helpers.
package sinktest
