package format

// IP protocol numbers that the formats treat alike or apart (IANA, Protocol Numbers).
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// ipProtocol holds the names of an IP protocol: that of Junos in a filter log, and that of IANA in lower case, which ECS uses.
type ipProtocol struct{ junos, iana string }

// protocols holds the names by protocol number. A protocol that Junos prints as a number has the zero value.
var protocols = [256]ipProtocol{
	protoICMP:   {"icmp", "icmp"},
	2:           {"igmp", "igmp"},
	4:           {"ipip", "ipv4"},
	protoTCP:    {"tcp", "tcp"},
	8:           {"egp", "egp"},
	protoUDP:    {"udp", "udp"},
	46:          {"rsvp", "rsvp"},
	47:          {"gre", "gre"},
	50:          {"esp", "esp"},
	51:          {"ah", "ah"},
	protoICMPv6: {"icmp6", "ipv6-icmp"},
	89:          {"ospf", "ospfigp"},
	103:         {"pim", "pim"},
	112:         {"vrrp", "vrrp"},
	protoSCTP:   {"sctp", "sctp"},
}
