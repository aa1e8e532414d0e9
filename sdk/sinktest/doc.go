// Package sinktest is a host for sinks under test: a stream that hands out records, keeps account of what is acknowledged
// and complains about every breach of the contract, realistic records to feed it with, and the checks that every sink has
// to pass.
//
// A test of a sink looks like this:
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
// [Config] is the configuration of such a sink, and [Conform] what every sink has to pass.
//
// It imports nothing of this module outside sdk but helpers.
package sinktest
