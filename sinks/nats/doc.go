// Package nats is the sink that publishes to a NATS JetStream stream.
//
// It holds no queue, and retries nothing across runs: an error ends the run and the daemon calls Run again.
//
// # Files
//
//	plugin.go   what is registered; a table to a sink
//	options.go  the table of the sink: types, defaults, checks
//	subject.go  names that NATS takes, and whether a stream takes them
//	connect.go  one connection, and the stream behind it
//	sink.go     the sink and its loop: records into messages
//	message.go  one message: records, headers, size
//	publish.go  messages on their way, and what becomes of them
//
// # What must hold
//
// A record counts as delivered when the stream's own acknowledgement for its message has come. Its message is the same
// whenever it is sent again: same records, same id. So the stream drops the second one, as long as its window for
// duplicates remembers the first. Where records are batched, a run that fails therefore leaves behind how its unconfirmed
// messages were cut.
//
// The client library never reconnects by itself. A connection that is lost ends the run, and so does one that is open and
// confirms nothing.
package nats
