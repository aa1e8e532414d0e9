// Package pipeline builds the graph that a configuration describes, runs it, and takes it down.
//
// The life of a pipeline:
//
//   - Plan reads every component's table and finds every mistake. It opens nothing: `pipelined check` ends here.
//   - Run opens the sources, builds the hooks for as many workers as the sources have queues, starts a delivery per sink,
//     then a worker per queue, and a feed for sources of events.
//   - Reload puts another configuration in its place: what is new is opened first, and what has not changed is not touched.
//   - It stops in reverse, packets first: the workers end and flush, the sources close, the rings drain for as long as
//     the configuration allows, and what is left is counted as abandoned.
//
// It knows concrete plugins only through its [Registry].
package pipeline
