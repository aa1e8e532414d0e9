// Package kept writes and reads what a run of the daemon keeps for the next one, which goes on with it: positions and records of rings
// with the names of their ids, sessions, what sources know, counters of hooks.
//
// It is a file of frames in the state directory (internal/statedir has their layout). The first frame is a [Head]; frames of names,
// records, sessions and sources follow; the last is a [Tail], which says how many there were. What stands in records, sessions and
// sources' pieces is the business of core/replay, core/session and each source.
//
// Nothing of a file is used unless all of it is right: see [Read]. The package knows no pipeline, and decides nothing.
package kept
