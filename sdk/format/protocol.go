package format

// ipProtocol is what an IP protocol number is called: by Junos in a filter log, and by IANA in lower case, which is what
// ECS wants.
type ipProtocol struct{ junos, iana string }

// protocolName returns the zero value for a number that Junos has no name for.
func protocolName(number uint8) ipProtocol {
	switch number {
	case protoICMP:
		return ipProtocol{"icmp", "icmp"}
	case 2:
		return ipProtocol{"igmp", "igmp"}
	case 4:
		return ipProtocol{"ipip", "ipv4"}
	case protoTCP:
		return ipProtocol{"tcp", "tcp"}
	case 8:
		return ipProtocol{"egp", "egp"}
	case protoUDP:
		return ipProtocol{"udp", "udp"}
	case 46:
		return ipProtocol{"rsvp", "rsvp"}
	case 47:
		return ipProtocol{"gre", "gre"}
	case 50:
		return ipProtocol{"esp", "esp"}
	case 51:
		return ipProtocol{"ah", "ah"}
	case protoICMPv6:
		return ipProtocol{"icmp6", "ipv6-icmp"}
	case 89:
		return ipProtocol{"ospf", "ospfigp"}
	case 103:
		return ipProtocol{"pim", "pim"}
	case 112:
		return ipProtocol{"vrrp", "vrrp"}
	case protoSCTP:
		return ipProtocol{"sctp", "sctp"}
	}
	return ipProtocol{}
}

const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)
