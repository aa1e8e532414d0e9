// Package kafka is the sink that produces to Kafka topics.
//
// It holds no queue, and retries nothing across runs: an error ends the run and the daemon calls Run again.
//
// # Files
//
//	plugin.go   what is registered; a table to a sink
//	options.go  the table of the sink: types, defaults, checks
//	topic.go    names that Kafka takes
//	key.go      the flow of a record
//	client.go   the client of one run, and what it tells
//	sink.go     the sink and its loop
//	produce.go  one record on its way, and what becomes of it
//
// # What must hold
//
// A record counts as delivered when all in-sync replicas have it and the leader has said so. Within a run the client retries
// and the brokers drop what came twice (an idempotent producer), so a partition keeps the order of the ring. Each run has a
// client of its own: what a run has not heard of is produced again by the next one, in the same order, and may be there
// twice; epoch and sequence tell.
//
// A broker refuses a batch as a whole for one record in it. So no record is rejected before it was refused alone.
package kafka
