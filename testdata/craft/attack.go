package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

func attackByName(name string) (attack, uint16, bool) {
	if name == marker.name {
		return marker, 0, true
	}
	for n, a := range attacks {
		if a.name == name {
			return a, attackID(n), true
		}
	}
	return attack{}, 0, false
}

func listCommand([]string) error {
	for n, a := range attacks {
		fmt.Printf("%-17s %4d frames  id %#x  %s\n", a.name, len(a.frames(attackID(n))), attackID(n), a.about)
	}
	return nil
}

// attackCommand sends attacks, one after the other, with `pause` between them.
func attackCommand(args []string) error {
	fs := flag.NewFlagSet("attack", flag.ContinueOnError)
	iface := fs.String("i", "", "interface to send on")
	pause := fs.Duration("pause", 50*time.Millisecond, "between two attacks")
	if err := fs.Parse(args); err != nil {
		return err
	}
	socket, err := rawSocket(*iface)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	for i, name := range fs.Args() {
		a, id, ok := attackByName(name)
		if !ok {
			return fmt.Errorf("no attack %q; see craft list", name)
		}
		if i > 0 {
			time.Sleep(*pause)
		}
		frames := a.frames(id) // all of them first, so that only sending is timed
		start := time.Now()
		for n, frame := range frames {
			due := start.Add(time.Duration(n) * a.gap)
			if wait := time.Until(due); wait > 2*time.Millisecond {
				time.Sleep(wait - time.Millisecond)
			}
			for time.Now().Before(due) { // sleeping is too coarse for the rest
			}
			if _, err := unix.Write(socket, frame); err != nil {
				return fmt.Errorf("%s, frame %d of %d bytes: %w", name, n+1, len(frame), err)
			}
		}
	}
	return nil
}

// rawSocket returns a packet socket that sends and receives whole Ethernet frames of all types on one interface.
func rawSocket(name string) (int, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return -1, fmt.Errorf("interface %q: %w", name, err)
	}
	protocol := binary.NativeEndian.Uint16([]byte{byte(unix.ETH_P_ALL >> 8), byte(unix.ETH_P_ALL & 0xff)}) // network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: ifi.Index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	return fd, nil
}
