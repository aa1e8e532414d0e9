package syslog

import (
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// discoverMTU makes the kernel find out the MTU of the path and cut what is longer into fragments: it is the default of
// Linux, and a system may have another (ip(7), ipv6(7)).
func discoverMTU(network, _ string, c syscall.RawConn) (err error) {
	level, option, value := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_WANT
	switch network {
	case "udp4":
	case "udp6":
		level, option, value = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_WANT
	default:
		return nil
	}
	if controlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) }); controlErr != nil {
		return controlErr
	}
	return err
}

// Headers in front of a message.
const (
	headers4 = 20 + 8
	headers6 = 40 + 8
)

// countFragmented counts the datagrams, which end at ends, that do not fit the path.
func (g *datagrams) countFragmented(u *net.UDPConn, ends []int, longest int) {
	const fitsAnywhere = 1280 - headers6 // the least MTU of IPv6
	if longest <= fitsAnywhere {
		return
	}
	g.info.pathMTU = pathMTU(u)
	room := g.info.pathMTU - headers4
	if isIPv6(u) {
		room = g.info.pathMTU - headers6
	}
	if room <= 0 {
		return
	}
	start := 0
	for _, end := range ends {
		if end-start > room {
			g.counts.fragmented.Add(1)
		}
		start = end
	}
}

func isIPv6(u *net.UDPConn) bool {
	a, ok := u.RemoteAddr().(*net.UDPAddr)
	return ok && netip.Addr.Is6(a.AddrPort().Addr()) && !a.AddrPort().Addr().Is4In6()
}

// pathMTU returns what the kernel knows of the MTU to the peer, 0 if it does not say.
func pathMTU(u *net.UDPConn) (mtu int) {
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if isIPv6(u) {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	_ = raw.Control(func(fd uintptr) {
		if v, err := unix.GetsockoptInt(int(fd), level, option); err == nil {
			mtu = v
		}
	})
	return mtu
}
