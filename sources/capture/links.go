package capture

import (
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/packet"
)

// links are the link types that are read, by their number in a capture (https://www.tcpdump.org/linktypes.html).
var links = map[layers.LinkType]packet.Link{
	0:   packet.LinkNull,
	1:   packet.LinkEthernet,
	9:   packet.LinkPPP,
	12:  packet.LinkRaw, // DLT_RAW of most systems, and of OpenBSD below
	14:  packet.LinkRaw,
	50:  packet.LinkPPP, // with HDLC framing
	51:  packet.LinkPPPoE,
	101: packet.LinkRaw,
	104: packet.LinkPPP, // Cisco HDLC
	108: packet.LinkNull,
	113: packet.LinkSLL,
	228: packet.LinkRaw, // IPv4 only
	229: packet.LinkRaw, // IPv6 only
	239: packet.LinkNFLOG,
	276: packet.LinkSLL2,
}

// linkOf returns the link type with that number in a capture, and a [LinkTypeError] if it is not read. name is the
// interface's, if it has one.
func linkOf(t layers.LinkType, name string) (packet.Link, error) {
	l, ok := links[t]
	if !ok {
		return 0, &LinkTypeError{Type: t, Interface: name}
	}
	return l, nil
}
