package xsk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/machine"
)

// Capabilities returns those that [Open] needs.
func Capabilities() []machine.Capability {
	return []machine.Capability{machine.NetAdmin, machine.NetRaw, machine.BPF}
}

// checkCapabilities asks before anything is done, because the kernel's own refusal does not say what is missing.
func checkCapabilities() error {
	effective, err := machine.Effective()
	if err != nil {
		return err
	}
	if missing := effective.Missing(Capabilities()...); len(missing) > 0 {
		return &PermissionError{Missing: missing}
	}
	return nil
}

// MayOffload reports whether the kernel lets the calling thread load a program with a flow table: without CAP_PERFMON it refuses some of
// what that does with packets.
func MayOffload() bool {
	effective, err := machine.Effective()
	return err == nil && effective.Has(machine.Perfmon)
}

// explain gives an error of a system call the type that a caller decides on. It keeps every other error as it is.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return &PermissionError{Err: err}
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ENOPROTOOPT):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}
