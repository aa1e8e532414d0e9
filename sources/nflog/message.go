package nflog

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// Attributes of a packet (linux/netfilter/nfnetlink_log.h).
const (
	attrPacketHeader = 1
	attrTimestamp    = 3
	attrIn           = 4
	attrOut          = 5
	attrPhysicalIn   = 6
	attrPhysicalOut  = 7
	attrPayload      = 9
	attrPrefix       = 10
	attrSequence     = 12

	// looked are those that are looked at; each is there at most once.
	looked = 1<<attrPacketHeader | 1<<attrTimestamp | 1<<attrIn | 1<<attrOut | 1<<attrPhysicalIn | 1<<attrPhysicalOut | 1<<attrPayload |
		1<<attrPrefix | 1<<attrSequence
)

// Families of rules that are not address families (linux/netfilter.h), and a hook of netdev.
const (
	familyNetdev = 5
	familyBridge = 7
	hookEgress   = 1
)

// message is what a message of the kernel says about a packet. Its slices are in the memory of the message.
type message struct {
	family   uint8
	hook     uint8  // valid if there was a packet header
	protocol uint16 // Ethernet type; 0 if there was no packet header
	sequence uint32
	has      uint32 // the attributes that are there, a bit each

	in, out, physicalIn, physicalOut uint32

	time    int64 // Unix nanoseconds, 0 if the kernel does not say
	prefix  []byte
	payload []byte
}

// maxSeconds is the last Unix time that is believed, far below what nanoseconds can say.
const maxSeconds = 1 << 33

// parse reads the attributes of a message. It reports false if one that is looked at is cut off, too short, or there twice; what
// was read before is valid.
func (m *message) parse(family uint8, attributes []byte) bool {
	*m = message{family: family}
	for len(attributes) > 0 {
		typ, value, rest, ok := nfnetlink.NextAttr(attributes)
		if !ok {
			return false
		}
		attributes = rest
		if typ >= 32 || looked>>typ&1 == 0 {
			continue
		}
		if m.has>>typ&1 != 0 || !m.attribute(typ, value) {
			return false
		}
		m.has |= 1 << typ
	}
	return true
}

// attribute reads one of the attributes that are looked at, and reports whether it is as long as it must be.
func (m *message) attribute(typ uint16, value []byte) bool {
	switch typ {
	case attrPayload:
		m.payload = value
		return true
	case attrPrefix:
		if i := bytes.IndexByte(value, 0); i >= 0 {
			value = value[:i]
		}
		m.prefix = value
		return true
	}
	if len(value) < 4 {
		return false
	}
	number := binary.BigEndian.Uint32(value)
	switch typ {
	case attrPacketHeader:
		m.protocol, m.hook = uint16(number>>16), uint8(number>>8)
	case attrIn:
		m.in = number
	case attrOut:
		m.out = number
	case attrPhysicalIn:
		m.physicalIn = number
	case attrPhysicalOut:
		m.physicalOut = number
	case attrSequence:
		m.sequence = number
	case attrTimestamp:
		if len(value) < 16 {
			return false
		}
		seconds, micros := binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])
		if seconds > maxSeconds || micros >= 1e6 {
			return false
		}
		m.time = int64(seconds)*1e9 + int64(micros)*1e3
	}
	return true
}

// interfaces returns the kernel's numbers of the interfaces that the packet came in by and leaves by, 0 for none. For a packet
// that a bridge forwards they are those of its ports.
func (m *message) interfaces() (in, out uint32) {
	in, out = m.in, m.out
	if m.family == familyBridge || in == out {
		if m.physicalIn != 0 {
			in = m.physicalIn
		}
		if m.physicalOut != 0 {
			out = m.physicalOut
		}
	}
	return in, out
}

// Ethernet types that can be in front of an IP packet in the payload of rules for bridges and network devices.
const (
	typeVLAN  = unix.ETH_P_8021Q
	typeQinQ  = unix.ETH_P_8021AD
	typePPPoE = unix.ETH_P_PPP_SES

	etherHeader = 14
	vlanTag     = 4
)

// decode reads the headers of the packet into h, as packet.Decode does. The payload of the IP families begins with the IP header,
// that of the others with what the Ethernet type says.
func (m *message) decode(h *packet.Headers) packet.Cause {
	b := m.payload
	switch m.family {
	case unix.AF_INET, unix.AF_INET6:
		return packet.DecodeLink(packet.LinkRaw, b, len(b), h)
	case familyNetdev:
		// A packet that leaves has its Ethernet header, if its interface has such.
		if m.hook == hookEgress && len(b) >= etherHeader && binary.BigEndian.Uint16(b[etherHeader-2:]) == m.protocol {
			return packet.DecodeLink(packet.LinkEthernet, b, len(b), h)
		}
	case familyBridge:
	default:
		*h = packet.Headers{}
		return packet.NotIP
	}
	protocol := m.protocol
	for (protocol == typeVLAN || protocol == typeQinQ) && len(b) >= vlanTag {
		protocol, b = binary.BigEndian.Uint16(b[2:]), b[vlanTag:]
	}
	switch protocol {
	case unix.ETH_P_IP, unix.ETH_P_IPV6:
		return packet.DecodeLink(packet.LinkRaw, b, len(b), h)
	case typePPPoE:
		return packet.DecodeLink(packet.LinkPPPoE, b, len(b), h)
	default:
		*h = packet.Headers{}
		return packet.NotIP
	}
}
