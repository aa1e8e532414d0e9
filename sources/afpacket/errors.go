package afpacket

import "errors"

var (
	// ErrCapability is returned when the process may not open packet sockets.
	ErrCapability = errors.New("packet sockets need the capability CAP_NET_RAW")
	// ErrInterfaceMissing is returned when an interface does not exist at the start.
	ErrInterfaceMissing = errors.New("no such interface")
	// ErrMemory is returned when the rings are larger than the memory that is left.
	ErrMemory = errors.New("no memory for the rings")
)
