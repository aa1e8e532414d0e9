package xsk

import (
	"fmt"
	"strings"
	"time"
)

// Mode is where on the receive path the XDP program runs.
type Mode uint8

const (
	// Auto asks for native mode and falls back to generic mode where the driver refuses; [Interface.Notes] says why.
	Auto Mode = iota
	// Native runs in the driver, before the kernel has made a packet of its own.
	Native
	// Generic runs behind the driver, on any driver, at a multiple of the cost.
	Generic
)

// String returns the mode as a configuration file spells it.
func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case Native:
		return "native"
	case Generic:
		return "generic"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// Failure is what becomes of the frames of a bridge while nobody reads them.
type Failure uint8

const (
	// FailClosed drops them.
	FailClosed Failure = iota
	// FailOpen hands them to the peer, as a cable would.
	FailOpen
)

// String returns the choice as a configuration file spells it.
func (f Failure) String() string {
	if f == FailOpen {
		return "open"
	}
	return "closed"
}

// DefaultOnFailureAfter is Config.OnFailureAfter where it is 0.
const DefaultOnFailureAfter = time.Second

// Config says which interface to open, and how.
type Config struct {
	Interface string // name
	Attach    Mode

	// Frames is the number of packet buffers per queue, and of those to send from, a power of two from 64 to 65,536; default 4,096. It is how many
	// packets may arrive while the reader does something else: 4,096 at 3 million packets/s are 1.4 ms.
	Frames int
	// FrameSize is the size of one buffer in bytes, 2,048 or 4,096. 256 bytes of it belong to the kernel; a longer
	// packet takes several buffers where the MTU allows it when the interface is opened, and the kernel can do it ([MultiBuffer]). Else it is
	// dropped and counted (Stats.RxDropped). Default: 2,048, or 4,096 where the MTU needs it.
	FrameSize int

	// PassPorts are the TCP and UDP destination ports that stay with the kernel, over IPv4 and IPv6, also behind one or
	// two VLAN tags. A port is looked for in the first fragment of a packet only. While there is any pass port, IPv6
	// neighbour discovery stays with the kernel too: without it nothing could connect to the port.
	PassPorts []uint16

	// Bridge takes every frame from the kernel, whatever is in it, but those of PassTypes, and opens the transmit side of the
	// sockets: see [Socket.Transmit].
	Bridge bool
	// PassTypes are the Ethernet types, of the outermost header, that stay with the kernel of a bridge.
	PassTypes []uint16

	// OnFailure says what becomes of the frames of a bridge while nobody reads them: before the reader of a queue begins and after the
	// interface was closed, and however the process ends.
	OnFailure Failure
	// OnFailureAfter is how long the reader of a queue may not come for frames that wait, until what follows goes past it
	// (FailOpen): when the process hangs.
	OnFailureAfter time.Duration
	// BPFFS is the BPF file system in which the program of a bridge is pinned, so that it outlives the process, such as
	// [DefaultBPFFS]. If it cannot be, [Interface.Notes] say so, and the program leaves with the process, as it does without BPFFS.
	// A tap looks there for what a bridge has left on its interface, and removes it.
	BPFFS string

	// Flows are the flows whose packets the program carries; nil: none. It is the caller's, and may be given to one interface after
	// another. See also [Interface.Carry]. It needs [MayOffload].
	Flows *Flows

	// Promiscuous lets the interface receive what is addressed to other stations. It is undone when the interface is
	// closed or the process ends.
	Promiscuous bool
}

const (
	minFrames = 64
	maxFrames = 1 << 16

	// DefaultFrames is Config.Frames where it is 0.
	DefaultFrames = 4096

	smallFrame = 2048
	largeFrame = 4096

	// headroom is what the kernel keeps free before a packet in its buffer (XDP_PACKET_HEADROOM).
	headroom = 256
	// linkOverhead is what a packet of MTU size may have before it: an Ethernet header and two VLAN tags.
	linkOverhead = 14 + 2*4
)

// ConfigError is a value of a [Config] that cannot be used.
type ConfigError struct {
	Option string // "interface", "attach", "frames", "frame_size"
	Reason string
}

// Error implements error.
func (e *ConfigError) Error() string { return e.Option + ": " + e.Reason }

// maxName is the length of the longest alternative name of an interface.
const maxName = 127

// Mistakes returns what makes the configuration unusable, whatever the interface. It touches no device.
func (c Config) Mistakes() (list []*ConfigError) {
	mistake := func(option, form string, args ...any) {
		list = append(list, &ConfigError{option, fmt.Sprintf(form, args...)})
	}
	switch {
	case c.Interface == "":
		mistake("interface", "missing")
	case len(c.Interface) > maxName || strings.ContainsAny(c.Interface, "/ \x00"):
		mistake("interface", "%q is not an interface name", c.Interface)
	}
	if c.Attach > Generic {
		mistake("attach", "unknown mode %v", c.Attach)
	}
	if c.Frames != 0 && (c.Frames < minFrames || c.Frames > maxFrames || c.Frames&(c.Frames-1) != 0) {
		mistake("frames", "%d is not a power of two from %d to %d", c.Frames, minFrames, maxFrames)
	}
	if c.FrameSize != 0 && c.FrameSize != smallFrame && c.FrameSize != largeFrame {
		mistake("frame_size", "%d is neither %d nor %d", c.FrameSize, smallFrame, largeFrame)
	}
	return list
}

// withDefaults returns the configuration with its defaults, except FrameSize, which depends on the MTU.
func (c Config) withDefaults() (Config, error) {
	if list := c.Mistakes(); len(list) > 0 {
		return c, list[0]
	}
	if c.Frames == 0 {
		c.Frames = DefaultFrames
	}
	if c.OnFailureAfter == 0 {
		c.OnFailureAfter = DefaultOnFailureAfter
	}
	return c, nil
}

// maxLength is the length of the longest packet there can be: no MTU is larger than that of the loopback interface.
const maxLength = 1<<16 + linkOverhead

// MaxMTU returns the largest MTU whose packets fit packet buffers of a size, one each, with two VLAN tags.
func MaxMTU(frameSize int) int { return frameSize - headroom - linkOverhead }

// LargestMTU returns the largest MTU whose packets can be received, and sent if it is for a bridge, by an interface that is opened
// with that configuration; multi is [MultiBuffer].
func (c Config) LargestMTU(multi bool) int {
	size := c.FrameSize
	if size == 0 {
		size = largeFrame
	}
	switch {
	case !multi:
		return MaxMTU(size)
	case c.Bridge:
		return min(maxLength, maxSend(size, true)) - linkOverhead
	}
	return maxLength - linkOverhead
}

// BuffersFor returns the size of the buffers that [Open] chooses for an MTU, and whether packets take several of them; multi
// is [MultiBuffer].
func (c Config) BuffersFor(mtu int, multi bool) (frameSize int, several bool) {
	frameSize = c.FrameSize
	if frameSize == 0 {
		frameSize = FrameSizeFor(mtu)
	}
	return frameSize, multi && mtu > MaxMTU(frameSize)
}

// maxSend returns the length of the longest packet that can be sent.
func maxSend(frameSize int, several bool) int {
	if several {
		return maxSegments * frameSize
	}
	return frameSize
}

// FrameSizeFor returns the frame size that [Open] chooses for an MTU.
func FrameSizeFor(mtu int) int {
	if mtu+linkOverhead <= smallFrame-headroom {
		return smallFrame
	}
	return largeFrame
}
