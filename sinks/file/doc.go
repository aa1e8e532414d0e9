// Package file is the sink that writes to a file, to a FIFO or device, or to standard output.
//
// What lives here: collecting records into large writes, whole records in the file whatever fails, rotation, and the sync
// modes that decide what an acknowledgement means. What never may: a queue of its own, retries (an error ends the run and
// the daemon comes again), formats (sdk/format), and anything of ours but sdk/....
//
// # Files
//
//	plugin.go   what is registered; options to sink
//	options.go  types of the options
//	sink.go     the loop: collect, write, sync, acknowledge
//	target.go   what the loop writes to; standard output and any io.Writer
//	logfile.go  a path: open, lock, rename and delete noticed
//	rotate.go   when a file is full, what it is called then, which are deleted
//	compress.go what becomes of rotated files
//	owner.go    whom files belong to
//	repair.go   where the last whole record of a file ends
//
// # What must hold
//
// The file is always: acknowledged records, then written ones, then at most one torn one, and the torn one is cut off before
// anything else is written. Nothing but this sink appends to the file (it is locked), so "the last n bytes" are ours to
// take back. A sync that failed is never tried again for the same bytes: the kernel reports the failure once and then
// forgets it. They are cut off and written anew.
package file
