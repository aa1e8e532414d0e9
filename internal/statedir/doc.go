// Package statedir keeps on disk what a run of the daemon has to tell the next one.
//
// Its directory has a file for each purpose:
//
//	epoch        the highest epoch ever used, so that epochs only grow whatever the clock says
//	kept         what the next run goes on with: sessions, records, positions of streams. It is used once
//	lock         held by the process that uses the directory
//	losses.json  what a stop has given up, by sink, so that the next run can announce it
//
// Files are replaced atomically: after a crash there is the old one or the new one. A file that cannot be read is put aside
// under another name and reported; nothing of it is used. What is kept is a file of frames, see [ReadFrames], whose content belongs to the caller. The directory must be one that others cannot write to;
// one that somebody removes while it is in use is made again for the next file. The package imports nothing of this project but helpers.
package statedir
