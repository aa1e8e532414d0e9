// Package statedir keeps what a run of the daemon has to tell the next one, in a directory: one file per purpose.
//
//	epoch        the highest epoch ever used, so that epochs only grow whatever the clock says
//	lock         held by the process that uses the directory
//	losses.json  what a stop has given up, by sink, so that the next run can announce it
//
// Files are replaced whole: after a crash there is the old one or the new one. A file that cannot be read is put aside
// under another name and reported; nothing of it is used. The directory must be one that others cannot write to. The
// package knows nothing else of this project.
package statedir
