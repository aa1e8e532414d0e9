package xsk

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// KernelMajor and KernelMinor are the oldest release of Linux that [Open] works with.
const KernelMajor, KernelMinor = 5, 18

// Errors that a caller may want to tell apart, with [errors.Is].
var (
	// ErrInterfaceMissing: there is no interface of this name.
	ErrInterfaceMissing = errors.New("no such network interface")
	// ErrInterfaceGone: the interface was deleted, or moved to another namespace, after it had been opened. It does not
	// come back to this [Interface]: close it and open another.
	ErrInterfaceGone = errors.New("network interface is gone")
	// ErrProgramAttached: another XDP program is on the interface, and was left there. See [ProgramAttachedError].
	ErrProgramAttached = errors.New("another XDP program is attached")
	// ErrDetached: the XDP program was taken off the interface, as `pipelined detach --force` does, or another one is in its place.
	ErrDetached = errors.New("its XDP program was taken off by somebody")
	// ErrQueueBusy: another AF_XDP socket holds a queue of the interface.
	ErrQueueBusy = errors.New("another AF_XDP socket holds the queue")
	// ErrPermission: the process lacks a capability. See [PermissionError]. It is also [fs.ErrPermission].
	ErrPermission = errors.New("no permission")
	// ErrLockedMemory: the packet buffers are more memory than RLIMIT_MEMLOCK lets the user lock.
	ErrLockedMemory = errors.New("limit of locked memory (RLIMIT_MEMLOCK) is too low")
	// ErrUnsupported: the kernel is too old, or was built without AF_XDP.
	ErrUnsupported = fmt.Errorf("the kernel does not support this: Linux %d.%d or newer with CONFIG_XDP_SOCKETS is needed", KernelMajor, KernelMinor)
	// ErrClosed: the interface was closed.
	ErrClosed = errors.New("AF_XDP interface is closed")
)

// ProgramAttachedError says which XDP program is on the interface.
type ProgramAttachedError struct {
	Interface string
	ID        uint32 // as `bpftool prog show id` takes it; 0 if the kernel did not say
}

// Error implements error.
func (e *ProgramAttachedError) Error() string {
	if e.ID == 0 {
		return fmt.Sprintf("%s: %v", e.Interface, ErrProgramAttached)
	}
	return fmt.Sprintf("%s: %v: program id %d", e.Interface, ErrProgramAttached, e.ID)
}

// Is makes a ProgramAttachedError an [ErrProgramAttached].
func (e *ProgramAttachedError) Is(target error) bool { return target == ErrProgramAttached }

// PermissionError says which capabilities are missing.
type PermissionError struct {
	Missing []string // such as "CAP_NET_RAW"; empty if the process has all of them and the kernel refuses nevertheless
	Err     error    // what the kernel said; nil if it was not asked
}

// Error implements error.
func (e *PermissionError) Error() string {
	text := ErrPermission.Error()
	switch {
	case len(e.Missing) > 0:
		text += ": missing " + strings.Join(e.Missing, ", ")
	default:
		text += " although all capabilities are there (is this a user namespace, or is there a security module?)"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is makes a PermissionError an [ErrPermission] and an [fs.ErrPermission].
func (e *PermissionError) Is(target error) bool {
	return target == ErrPermission || target == fs.ErrPermission
}

// Unwrap returns what the kernel said.
func (e *PermissionError) Unwrap() error { return e.Err }
