// Package pipeline builds the graph that a plan describes, runs it, and takes it down.
//
// The life of a pipeline:
//
//   - Open opens the sources, builds the hooks for as many workers as the sources have queues, and goes on with what an earlier run has kept.
//   - Run starts a delivery per sink, then a worker per queue, and a feed for sources of events.
//   - Reload puts another configuration in its place: what is new is opened first, and what has not changed is not touched.
//   - It stops in reverse, packets first: the workers end and flush, the sources close, the rings drain for as long as
//     the configuration allows, and what is left is counted as abandoned.
package pipeline
