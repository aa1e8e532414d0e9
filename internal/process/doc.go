// Package process starts executables, limits them, and ends them together with every process that they have started.
//
// A [Supervisor] starts each [Process] from one thread that lives as long as the supervisor: the kernel kills the process
// when that thread ends, which is when the daemon does, however it ends (parent-death signal). A process
//
//   - is an executable that nobody but root and the daemon's user can replace, or one with a checksum (executable.go);
//   - has no capabilities, no way to get any, and inherits no descriptors and no environment (privileges.go, options.go);
//   - leads a process group of its own, which is killed when it ends (process.go);
//   - is in a control group, if its memory or CPU is limited (group.go);
//   - is read no faster than a limit (output.go).
//
// What a process leaves behind outside its group becomes a child of the daemon and is killed ([Config.Adopt], adopted.go).
// What a daemon leaves behind, because it was killed itself, the next one finds by a variable in the environment and by the
// directory of the daemon in the runtime directory ([Supervisor.Sweep]).
//
// The package does not know what the processes are for, nor how the daemon talks to them.
package process
