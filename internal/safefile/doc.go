// Package safefile handles files in directories in which other users may be able to write.
//
// A process with more rights than the writers of a directory must not look names up in it twice, nor follow the symbolic
// links in it: whoever may write there could have it overwrite, give away or delete any file. [OpenDir] and [OpenParent]
// go through a path component by component and refuse it with an [*UnsafeError] if anybody but root and the user of
// this process could replace what it leads to. The files of a [Dir] are named relative to its descriptor, and a symbolic
// link in it is never followed.
//
// # Rules
//
// A directory is safe if it belongs to root or to the user of this process, and nobody else may write to it: the mode bits
// give write permission to others neither directly nor through a group. The group root, and a user's own group of the same
// number, are not others. A directory that its group may write to is not safe if its access control list lets anybody else write.
//
// The directories above it are looked at too. In one with the sticky bit, such as /tmp, entries of root and of this user
// stay in place, so it may be written by everybody. One of root's may be written by a system group, as /var/log may on
// Ubuntu: its members can put another directory of root's in the place of the expected one, and nothing else.
// [Options.Strict] refuses that.
//
// With [Options.Shared] a directory that is not safe is accepted, unless the kernel lets everybody link any file into it
// (fs.protected_hardlinks). Then the files in it are looked at: one that has another owner, or a second (hard) link, is not
// opened.
//
// Files in a safe directory are not looked at: nobody else could have put them there. A second link of such a file can have
// been made elsewhere by any user of the machine, who must not be able to stop its use.
//
// The package imports nothing else of this project.
package safefile
