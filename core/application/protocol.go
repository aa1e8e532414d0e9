package application

import (
	"maps"
	"slices"
	"strconv"

	"github.com/rtflow/pipelined/core/packet"
)

// protocolNames are the protocol names of the Junos configuration language (IANA Protocol Numbers, other spellings).
var protocolNames = map[string]uint8{
	"icmp": packet.ProtoICMP, "igmp": 2, "ipip": protoIPIP, "tcp": packet.ProtoTCP, "egp": 8, "udp": packet.ProtoUDP,
	"rsvp": 46, "gre": protoGRE, "esp": packet.ProtoESP, "ah": packet.ProtoAH, "icmp6": packet.ProtoICMPv6,
	"ospf": protoOSPF, "pim": 103, "vrrp": 112, "sctp": packet.ProtoSCTP,
}

// ParseProtocol returns the protocol of that name or decimal number.
func ParseProtocol(name string) (uint8, bool) {
	if p, ok := protocolNames[name]; ok {
		return p, true
	}
	n, err := strconv.ParseUint(name, 10, 8)
	return uint8(n), err == nil
}

// ProtocolNames returns the names that [ParseProtocol] knows, sorted.
func ProtocolNames() []string { return slices.Sorted(maps.Keys(protocolNames)) }

// ProtocolText returns the protocol as a message shows it.
func ProtocolText(proto uint8) string {
	name := ProtocolName(proto)
	if _, err := strconv.Atoi(name); err == nil {
		return "protocol " + name
	}
	return name
}

// ProtocolName returns the protocol as [ParseProtocol] reads it: its name, or its number if it has none.
func ProtocolName(proto uint8) string {
	for name, p := range protocolNames {
		if p == proto {
			return name
		}
	}
	return strconv.Itoa(int(proto))
}
