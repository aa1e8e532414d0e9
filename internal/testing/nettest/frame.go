package nettest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"golang.org/x/sys/unix"
)

// UDP describes an Ethernet frame with an IPv4 or IPv6 header and a UDP header. The zero value is usable: broadcast,
// 192.0.2.1 to 192.0.2.2, ports 1024 to 9.
type UDP struct {
	VLANs           []uint16   // tags, outermost first; two of them are an 802.1ad and an 802.1Q tag
	Source, Dest    netip.Addr // both IPv4 or both IPv6
	SourcePort      uint16
	DestinationPort uint16
}

// Frame returns the frame around a payload. The IPv4 header checksum is right; the UDP checksum is 0, which IPv4 allows
// and which nobody checks on IPv6 before the packet reaches a socket.
func (u UDP) Frame(payload []byte) []byte {
	if !u.Source.IsValid() {
		u.Source = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	if !u.Dest.IsValid() {
		u.Dest = netip.AddrFrom4([4]byte{192, 0, 2, 2})
	}
	if u.SourcePort == 0 {
		u.SourcePort = 1024
	}
	if u.DestinationPort == 0 {
		u.DestinationPort = 9 // discard
	}

	frame := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x01}
	for i, id := range u.VLANs {
		tag := uint16(0x8100)
		if i < len(u.VLANs)-1 {
			tag = 0x88a8
		}
		frame = binary.BigEndian.AppendUint16(frame, tag)
		frame = binary.BigEndian.AppendUint16(frame, id)
	}
	segment := uint16(8 + len(payload))
	if u.Source.Is4() {
		frame = binary.BigEndian.AppendUint16(frame, 0x0800)
		frame = appendIPv4(frame, u.Source, u.Dest, segment)
	} else {
		frame = binary.BigEndian.AppendUint16(frame, 0x86dd)
		frame = append(frame, 0x60, 0, 0, 0)
		frame = binary.BigEndian.AppendUint16(frame, segment)
		frame = append(frame, unix.IPPROTO_UDP, 64)
		frame = append(frame, u.Source.AsSlice()...)
		frame = append(frame, u.Dest.AsSlice()...)
	}
	frame = binary.BigEndian.AppendUint16(frame, u.SourcePort)
	frame = binary.BigEndian.AppendUint16(frame, u.DestinationPort)
	frame = binary.BigEndian.AppendUint16(frame, segment)
	frame = append(frame, 0, 0)
	return append(frame, payload...)
}

func appendIPv4(frame []byte, source, dest netip.Addr, segment uint16) []byte {
	start := len(frame)
	frame = append(frame, 0x45, 0)
	frame = binary.BigEndian.AppendUint16(frame, 20+segment)
	frame = append(frame, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0)
	frame = append(frame, source.AsSlice()...)
	frame = append(frame, dest.AsSlice()...)
	var sum uint32
	for i := start; i < len(frame); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(frame[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(frame[start+10:], ^uint16(sum))
	return frame
}

// Wire sends and receives whole Ethernet frames on one interface of a host through the kernel's packet socket. It is
// for one goroutine, which may be any.
type Wire struct {
	t  testing.TB
	fd int
	to unix.SockaddrLinklayer
}

const wireBuffer = 16 << 20

// Wire opens a packet socket on an interface. It sees every frame that the kernel gets there, but not what an XDP
// program takes first. It is closed at the end of the test.
func (h *Host) Wire(name string) *Wire {
	h.t.Helper()
	h.awaitCarrier(name)
	all := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8) // network byte order
	w := &Wire{t: h.t, fd: -1}
	h.Do(func() {
		device, err := net.InterfaceByName(name)
		h.must("look up "+name, err)
		w.to = unix.SockaddrLinklayer{Protocol: all, Ifindex: device.Index}
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
		h.must("open a packet socket", err)
		h.t.Cleanup(func() { _ = unix.Close(w.fd) }) // nothing is buffered in it that anyone wants
		// Whatever its length, a frame of a veth pair counts as a page.
		h.must("enlarge the receive buffer", unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, wireBuffer))
		h.must("bind a packet socket", unix.Bind(w.fd, &w.to))
	})
	return w
}

// awaitCarrier waits until the kernel has acted on the carrier of an interface that is up. It does so in a work queue, and
// drops without an error what is sent before.
func (h *Host) awaitCarrier(name string) {
	h.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		attrs := h.Link(name).Attrs()
		carrier := attrs.Flags&net.FlagUp != 0 && attrs.RawFlags&unix.IFF_LOWER_UP != 0
		if !carrier || attrs.OperState == netlink.OperUp || attrs.OperState == netlink.OperUnknown {
			return
		}
		select {
		case <-tick.C:
		case <-late.C:
			h.t.Fatalf("nettest: %s has a carrier and is %v for %v", name, attrs.OperState, patience)
		}
	}
}

// Send puts one frame on the wire. The test ends if the kernel refuses it.
func (w *Wire) Send(frame []byte) {
	w.t.Helper()
	if err := unix.Sendto(w.fd, frame, 0, &w.to); err != nil {
		w.t.Fatalf("nettest: send a frame of %d bytes: %v", len(frame), err)
	}
}

// TrySend puts one frame on the wire and returns the kernel's error, for a test in which the interface comes and goes.
func (w *Wire) TrySend(frame []byte) error {
	return unix.Sendto(w.fd, frame, 0, &w.to)
}

// Receive waits up to wait milliseconds for the next frame that arrived from the other end, and returns nil if there
// is none. Frames that this end sent are left out.
func (w *Wire) Receive(wait int) []byte {
	w.t.Helper()
	buffer := make([]byte, 1<<16)
	for deadline := time.Now().Add(time.Duration(wait) * time.Millisecond); ; wait = max(0, int(time.Until(deadline).Milliseconds())) {
		ready := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, wait)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			w.t.Fatalf("nettest: poll: %v", err)
		}
		if n == 0 {
			return nil // also if this end has sent all the time
		}
		n, from, err := unix.Recvfrom(w.fd, buffer, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN || err == unix.EINTR || err == unix.ENETDOWN {
			continue
		}
		if err != nil {
			w.t.Fatalf("nettest: receive: %v", err)
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		return buffer[:n]
	}
}
