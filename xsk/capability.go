package xsk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// missingCapabilities returns the names of the needed capabilities that the calling thread lacks.
func missingCapabilities() ([]string, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // of capabilities 0 to 31 and 32 to 63
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	has := func(capability uint) bool {
		return sets[capability/32].Effective&(1<<(capability%32)) != 0
	}
	if has(unix.CAP_SYS_ADMIN) && has(unix.CAP_NET_ADMIN) && has(unix.CAP_NET_RAW) {
		return nil, nil // CAP_SYS_ADMIN includes CAP_BPF
	}
	var missing []string
	for _, needed := range []struct {
		capability uint
		name       string
	}{
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		{unix.CAP_NET_RAW, "CAP_NET_RAW"},
		{unix.CAP_BPF, "CAP_BPF"},
	} {
		if !has(needed.capability) {
			missing = append(missing, needed.name)
		}
	}
	return missing, nil
}

// checkCapabilities asks before anything is done, because the kernel's own refusal does not say what is missing.
func checkCapabilities() error {
	missing, err := missingCapabilities()
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &PermissionError{Missing: missing}
	}
	return nil
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
