package conntrack

import "errors"

var (
	// ErrCapability is returned when the process may not ask for sessions.
	ErrCapability = errors.New("connection tracking is read with the capability CAP_NET_ADMIN")
	// ErrModule is returned when the kernel has no connection tracking, or none that can be read.
	ErrModule = errors.New("the kernel has no ctnetlink: modprobe nf_conntrack_netlink")
)
