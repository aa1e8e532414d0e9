package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vlanCommand is what `ip link add link IFACE name NAME type vlan id N` is, for kernels without the 8021q module: a tap
// interface whose frames leave IFACE with a tag, and get what arrives on IFACE with that tag.
func vlanCommand(args []string) error {
	fs := flag.NewFlagSet("vlan", flag.ContinueOnError)
	iface := fs.String("i", "", "parent interface")
	id := fs.Uint("id", 0, "VLAN id")
	name := fs.String("tap", "", "name of the sub-interface")
	if err := fs.Parse(args); err != nil {
		return err
	}
	wire, err := rawSocket(*iface)
	if err != nil {
		return err
	}
	// The kernel takes the tag out of a received frame and tells it beside.
	if err := unix.SetsockoptInt(wire, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("auxiliary data: %w", err)
	}
	tap, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(*name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tap, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("tap %s: %w", *name, err)
	}
	failed := make(chan error, 2)
	go func() { failed <- tagged(tap, wire, uint16(*id)) }()
	go func() { failed <- untagged(wire, tap, uint16(*id)) }()
	return <-failed
}

// tagged moves frames from the tap to the wire and puts the tag in.
func tagged(tap, wire int, id uint16) error {
	frame := make([]byte, 4+65536)
	for {
		n, err := unix.Read(tap, frame[4:])
		if retry(err) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("read tap", err)
		}
		copy(frame, frame[4:16])
		binary.BigEndian.PutUint16(frame[12:], 0x8100)
		binary.BigEndian.PutUint16(frame[14:], id)
		// A frame that the wire refuses is lost, as on any network.
		_, _ = unix.Write(wire, frame[:4+n])
	}
}

// untagged moves received frames with the tag from the wire to the tap.
func untagged(wire, tap int, id uint16) error {
	frame, control := make([]byte, 65536), make([]byte, 256)
	for {
		n, c, _, from, err := unix.Recvmsg(wire, frame, control, 0)
		if retry(err) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("read wire", err)
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		messages, err := unix.ParseSocketControlMessage(control[:c])
		if err != nil {
			return os.NewSyscallError("control message", err)
		}
		for _, m := range messages {
			if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
				continue
			}
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
			if aux.Status&unix.TP_STATUS_VLAN_VALID != 0 && aux.Vlan_tci&0xfff == id && aux.Vlan_tpid == 0x8100 {
				_, _ = unix.Write(tap, frame[:n])
			}
		}
	}
}

// retry: the tap is not up yet, or a signal came.
func retry(err error) bool {
	return errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENETDOWN)
}
