package capture

import (
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket/layers"
)

// What an [Error] wraps where a caller may want to tell. Others are fs.ErrNotExist and its kin, io.ErrUnexpectedEOF (the
// capture is cut off), the errors of decompression, and [LinkTypeError].
var (
	// ErrEmpty says that there is not one byte.
	ErrEmpty = errors.New("the file is empty")
	// ErrDirectory says that the path names a directory.
	ErrDirectory = errors.New("is a directory, not a capture")
	// ErrFormat says that the file is neither pcap nor pcapng, plain or compressed.
	ErrFormat = errors.New("not a capture")
	// ErrDamaged says that the file is a capture whose lengths or headers contradict each other.
	ErrDamaged = errors.New("damaged capture")
)

// errCutOff is the cause where a capture ends inside a record.
var errCutOff = fmt.Errorf("the capture is cut off: %w", io.ErrUnexpectedEOF)

// Error is why a capture could not be opened or read on.
type Error struct {
	Path   string // as configured; "-" for standard input
	Packet uint64 // the packet that could not be read, the first being 1; 0 = the file as a whole
	Offset int64  // where its record starts, in bytes of the capture (decompressed); meaningful if Packet is set
	Err    error
}

// Error names the file, and the packet and byte if reading had begun.
func (e *Error) Error() string {
	if e.Packet == 0 {
		return fmt.Sprintf("capture %s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("capture %s: packet %d at byte %d: %v", e.Path, e.Packet, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// LinkTypeError says that the frames of a capture begin with a header that is not read.
type LinkTypeError struct {
	Type      layers.LinkType
	Interface string // of a pcapng, if it names one
}

// Error names the link type and the interface.
func (e *LinkTypeError) Error() string {
	of := ""
	if e.Interface != "" {
		of = " of interface " + e.Interface
	}
	return fmt.Sprintf("link type %d (%v)%s is not read; Ethernet, raw IP, Linux cooked, loopback, PPP and NFLOG are",
		uint16(e.Type), e.Type, of)
}
