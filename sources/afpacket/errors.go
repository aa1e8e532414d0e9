package afpacket

import "errors"

var (
	// ErrCapability is returned when the process may not open packet sockets.
	ErrCapability = errors.New("packet sockets need the capability CAP_NET_RAW")
	// ErrInterfaceMissing is returned when an interface does not exist at the start.
	ErrInterfaceMissing = errors.New("no such interface")
	// ErrReadTwice is returned when two of the interfaces are the same one: each of its packets would count twice.
	ErrReadTwice = errors.New("an interface would be read twice")
	// ErrMemory is returned when the rings are larger than the memory that is left.
	ErrMemory = errors.New("no memory for the rings")
)
