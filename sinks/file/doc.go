// Package file is the sink that writes to a file, to a FIFO or device, or to standard output.
//
// It collects records into large writes, keeps whole records in the file whatever fails, rotates and compresses. Its sync modes
// decide what an acknowledgement means. It has no queue of its own and retries nothing: an error ends the run, and the daemon
// calls Run again. Formats are those of sdk/format.
//
// # Files
//
//	plugin.go   what is registered; a table to a sink
//	options.go  the table of the sink: types, defaults, checks
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
//
// Every file is named relative to the descriptor of its directory (internal/safefile), which is refused if other users could
// replace what is in it. No link in the directory is followed but a symbolic link, at the configured path, of root or of the
// daemon's user.
package file
