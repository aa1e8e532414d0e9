package xsk

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// openPromiscuous makes an interface promiscuous for as long as the returned socket is open. The kernel counts such
// requests, so nobody else's is undone, and it closes the socket when the process ends in any way. The socket itself
// receives nothing.
func openPromiscuous(index int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open a packet socket: %w", err)
	}
	membership := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &membership); err != nil {
		_ = unix.Close(fd) // nothing was done with it
		return -1, fmt.Errorf("set promiscuous mode: %w", err)
	}
	return fd, nil
}
