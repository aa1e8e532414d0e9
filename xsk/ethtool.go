package xsk

import (
	"bytes"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtool asks a driver. It is bound to the network namespace in which it was opened.
type ethtool struct {
	fd int
}

func openEthtool() (*ethtool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket for ethtool: %w", err)
	}
	return &ethtool{fd: fd}, nil
}

func (e *ethtool) close() error { return unix.Close(e.fd) }

// request is struct ifreq with a pointer in it.
type request struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // the rest of the union, and more
}

func (e *ethtool) ask(name string, command unsafe.Pointer) error {
	r := request{data: command}
	copy(r.name[:len(r.name)-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(e.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	runtime.KeepAlive(command)
	if errno != 0 {
		return errno
	}
	return nil
}

// receiveQueues returns how many receive queues the interface uses now, or fallback for a driver that cannot tell.
func (e *ethtool) receiveQueues(name string, fallback int) int {
	channels := struct {
		command                               uint32
		_, _, _, _                            uint32 // maxima
		receive, transmit, other, bothEndings uint32
	}{command: unix.ETHTOOL_GCHANNELS}
	if err := e.ask(name, unsafe.Pointer(&channels)); err == nil {
		if n := int(channels.receive + channels.bothEndings); n > 0 {
			return n
		}
	}
	rings := struct {
		command uint32
		_       uint32
		data    uint64
		_       [192]byte // the rest of struct ethtool_rxnfc
	}{command: unix.ETHTOOL_GRXRINGS}
	if err := e.ask(name, unsafe.Pointer(&rings)); err == nil && rings.data > 0 {
		return int(rings.data)
	}
	return fallback
}

// features returns the names of the offloads that are on. A driver without any gives an empty set.
func (e *ethtool) features(name string) (map[string]bool, error) {
	const (
		featureStrings = 4  // ETH_SS_FEATURES
		maxFeatures    = 96 // more than the kernel has
		nameLength     = 32 // ETH_GSTRING_LEN
	)
	count := struct {
		command uint32
		_       uint32
		mask    uint64
		length  uint32
	}{command: unix.ETHTOOL_GSSET_INFO, mask: 1 << featureStrings}
	if err := e.ask(name, unsafe.Pointer(&count)); err != nil {
		return nil, fmt.Errorf("count the features of %s: %w", name, err)
	}
	n := min(count.length, maxFeatures)

	names := struct {
		command, set, length uint32
		names                [maxFeatures][nameLength]byte
	}{command: unix.ETHTOOL_GSTRINGS, set: featureStrings, length: n}
	if err := e.ask(name, unsafe.Pointer(&names)); err != nil {
		return nil, fmt.Errorf("name the features of %s: %w", name, err)
	}
	blocks := struct {
		command, size uint32
		block         [maxFeatures / 32]struct{ available, requested, active, fixed uint32 }
	}{command: unix.ETHTOOL_GFEATURES, size: (n + 31) / 32}
	if err := e.ask(name, unsafe.Pointer(&blocks)); err != nil {
		return nil, fmt.Errorf("read the features of %s: %w", name, err)
	}

	on := make(map[string]bool)
	for i := range n {
		if blocks.block[i/32].active&(1<<(i%32)) != 0 {
			feature, _, _ := bytes.Cut(names.names[i][:], []byte{0})
			on[string(feature)] = true
		}
	}
	return on, nil
}
