// Package spool keeps the records of a sink on a disk, between its ring and its delivery: for a destination that is away for longer
// than a ring can hold, and for a machine that loses power.
//
// To the ring a spool is the reader: it writes the records to the newest of its segment files, and acknowledges them as soon as they
// are where [Options.Sync] says. To the delivery it is the queue: it lends the oldest records that are not acknowledged, and the
// acknowledgement of the sink moves a position that the next run of the daemon finds.
//
//	ring ─▶ Run ─▶ newest segment ─▶ … ─▶ oldest segment
//	         └──▶ records in memory ─▶ Next ─▶ sink ─▶ Ack ─▶ position
//
// While the sink keeps up it gets the records from memory, and no file is read. Records keep their epoch and sequence number. What
// an earlier epoch has left is a stream of its own, which comes before that of the running epoch; its names are in its segments.
//
// Nothing that is wrong with a file keeps a spool from being opened. What cannot be read is counted and announced by a loss record
// where it stood; the rest of the file is delivered. Errors of the disk are retried, and the records stay in the ring meanwhile.
//
// docs/spool-format.md describes the files. The package knows no sinks and no configuration but its own table.
package spool
