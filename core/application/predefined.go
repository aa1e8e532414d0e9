package application

import "github.com/rtflow/pipelined/core/packet"

// Protocol numbers of predefined applications that the decoder does not know by name.
const (
	protoIPIP    = 4
	protoGRE     = 47
	protoOSPF    = 89
	protoPersist = 255 // what Junos gives persistent NAT, a number that no packet should have
)

// IDs of service names that are no application a policy could name, and of no service at all.
const (
	None   = 0
	ICMP   = 1 // "icmp"
	ICMPv6 = 2 // "icmpv6"

	firstPredefined = 3
)

// httpTimeout is the inactivity timeout of junos-http in seconds.
const httpTimeout = 300

// predefinedApp is one predefined application.
type predefinedApp struct {
	name  string
	terms []Term
}

// predefinedSet is one predefined application set.
type predefinedSet struct {
	name    string
	members []string
}

// predefinedApps are the predefined applications of Junos. Where several have a port, the first one is the service name.
// IDs follow from this order. junos-smtps is port 465 (RFC 8314 section 3); lists of predefined applications differ.
var predefinedApps = [...]predefinedApp{
	{"junos-ftp-data", tcp(20)},
	{"junos-ftp", tcp(21)},
	{"junos-ssh", tcp(22)},
	{"junos-telnet", tcp(23)},
	{"junos-smtp", tcp(25)},
	{"junos-mail", tcp(25)},
	{"junos-whois", tcp(43)},
	{"junos-tacacs", tcp(49)},
	{"junos-dns-tcp", tcp(53)},
	{"junos-tacacs-ds", tcp(65)},
	{"junos-gopher", tcp(70)},
	{"junos-finger", tcp(79)},
	{"junos-http", withTimeout(httpTimeout, tcp(80))},
	{"junos-pop3", tcp(110)},
	{"junos-sun-rpc-tcp", tcp(111)},
	{"junos-ident", tcp(113)},
	{"junos-nntp", tcp(119)},
	{"junos-ms-rpc-tcp", tcp(135)},
	{"junos-netbios-session", tcp(139)},
	{"junos-imap", tcp(143)},
	{"junos-bgp", tcp(179)},
	{"junos-wais", tcp(210)},
	{"junos-ldap", tcp(389)},
	{"junos-internet-locator-service", tcp(389)},
	{"junos-https", tcp(443)},
	{"junos-snpp", tcp(444)},
	{"junos-smb-session", tcp(445)},
	{"junos-smtps", tcp(465)},
	{"junos-rsh", tcp(514)},
	{"junos-printer", tcp(515)},
	{"junos-lpr", tcp(515)},
	{"junos-rtsp", tcp(554)},
	{"junos-realaudio", tcp(554)},
	{"junos-ldp-tcp", tcp(646)},
	{"junos-snmp-agentx", tcp(705)},
	{"junos-imaps", tcp(993)},
	{"junos-pop3s", tcp(995)},
	{"junos-ms-sql", tcp(1433)},
	{"junos-winframe", tcp(1494)},
	{"junos-sqlnet-v2", tcp(1521)},
	{"junos-sqlnet-v1", tcp(1525)},
	{"junos-pptp", tcp(1723)},
	{"junos-msn", tcp(1863)},
	{"junos-sccp", tcp(2000)},
	{"junos-nfsd-tcp", tcp(2049)},
	{"junos-cvspserver", tcp(2401)},
	{"junos-xnm-ssl", tcp(3220)},
	{"junos-xnm-clear-text", tcp(3221)},
	{"junos-rdp", tcp(3389)},
	{"junos-wxcontrol", tcp(3578)},
	{"junos-ymsg", tcp(5050)},
	{"junos-aol", tcpRange(5190, 5193)},
	{"junos-vnc", tcp(5800)},
	{"junos-x-windows", tcpRange(6000, 6063)},
	{"junos-irc", tcpRange(6660, 6669)},
	{"junos-http-ext", tcp(7001)},
	{"junos-ns-global", tcp(15397)},
	{"junos-ns-global-pro", tcp(15397)},
	{"junos-tcp-any", tcpRange(1, 65535)},

	{"junos-echo", udp(7)},
	{"junos-discard", udp(9)},
	{"junos-chargen", udp(19)},
	{"junos-dns-udp", udp(53)},
	{"junos-dhcp-server", udp(67)},
	{"junos-bootps", udp(67)},
	{"junos-dhcp-relay", udp(67)},
	{"junos-dhcp-client", udp(68)},
	{"junos-bootpc", udp(68)},
	{"junos-tftp", udp(69)},
	{"junos-nsm", udp(69)},
	{"junos-nfs", udp(111)},
	{"junos-sun-rpc-udp", udp(111)},
	{"junos-ntp", udp(123)},
	{"junos-ms-rpc-udp", udp(135)},
	{"junos-nbname", udp(137)},
	{"junos-nbds", udp(138)},
	{"junos-ike", udp(500)},
	{"junos-biff", udp(512)},
	{"junos-who", udp(513)},
	{"junos-syslog", udp(514)},
	{"junos-rip", udp(520)},
	{"junos-uucp", udp(540)},
	{"junos-ldp-udp", udp(646)},
	{"junos-sql-monitor", udp(1434)},
	{"junos-l2tp", udp(1701)},
	{"junos-radius", udp(1812)},
	{"junos-radacct", udp(1813)},
	{"junos-nfsd-udp", udp(2049)},
	{"junos-gtp", udp(2123)},
	{"junos-gprs-gtp-c", udp(2123)},
	{"junos-gprs-gtp-u", udp(2152)},
	{"junos-mgcp-ua", udp(2427)},
	{"junos-mgcp-ca", udp(2727)},
	{"junos-gprs-gtp-v0", udp(3386)},
	{"junos-ike-nat", udp(4500)},
	{"junos-vxlan", udp(4789)},
	{"junos-pc-anywhere", udp(5632)},
	{"junos-gnutella", udpRange(6346, 6347)},
	{"junos-vdo-live", udpRange(7000, 7010)},
	{"junos-r2cp", udp(28672)},
	{"junos-udp-any", udpRange(1, 65535)},

	{"junos-sip", join(udp(5060), tcp(5060))},
	{"junos-talk", join(udp(517), tcp(517))},
	{"junos-ntalk", join(udp(518), tcp(518))},
	{"junos-stun", join(udpRange(3478, 3479), tcpRange(3478, 3479))},
	{"junos-smb", join(tcp(139), tcp(445))},
	{"junos-h323", join(tcp(1720), udp(1719), tcp(1503), tcp(389), tcp(522), tcp(1731))},

	{"junos-ip-in-ip", protocol(protoIPIP)},
	{"junos-gre", protocol(protoGRE)},
	{"junos-ospf", protocol(protoOSPF)},
	{"junos-sctp-any", protocol(packet.ProtoSCTP)},
	{"junos-persistent-nat", protocol(protoPersist)},

	{"junos-icmp-all", protocol(packet.ProtoICMP)},
	{"junos-ping", protocol(packet.ProtoICMP)},
	{"junos-icmp-ping", icmp(packet.ProtoICMP, packet.ICMPEchoRequest, AnyICMP)},
	{"junos-icmp6-all", protocol(packet.ProtoICMPv6)},
	{"junos-pingv6", protocol(packet.ProtoICMPv6)},
	{"junos-icmp6-echo-request", icmp(packet.ProtoICMPv6, packet.ICMPv6EchoRequest, AnyICMP)},
	{"junos-icmp6-echo-reply", icmp(packet.ProtoICMPv6, packet.ICMPv6EchoReply, AnyICMP)},
	// Codes: RFC 4443 sections 3.1 to 3.4.
	{"junos-icmp6-dst-unreach-route", icmp(packet.ProtoICMPv6, 1, 0)},
	{"junos-icmp6-dst-unreach-admin", icmp(packet.ProtoICMPv6, 1, 1)},
	{"junos-icmp6-dst-unreach-beyond", icmp(packet.ProtoICMPv6, 1, 2)},
	{"junos-icmp6-dst-unreach-addr", icmp(packet.ProtoICMPv6, 1, 3)},
	{"junos-icmp6-dst-unreach-port", icmp(packet.ProtoICMPv6, 1, 4)},
	{"junos-icmp6-packet-to-big", icmp(packet.ProtoICMPv6, 2, AnyICMP)},
	{"junos-icmp6-packet-too-big", icmp(packet.ProtoICMPv6, 2, AnyICMP)},
	{"junos-icmp6-time-exceed-transit", icmp(packet.ProtoICMPv6, 3, 0)},
	{"junos-icmp6-time-exceed-reassembly", icmp(packet.ProtoICMPv6, 3, 1)},
	{"junos-icmp6-param-prob-header", icmp(packet.ProtoICMPv6, 4, 0)},
	{"junos-icmp6-param-prob-nexthdr", icmp(packet.ProtoICMPv6, 4, 1)},
	{"junos-icmp6-param-prob-option", icmp(packet.ProtoICMPv6, 4, 2)},
}

// predefinedSets are the predefined application sets.
var predefinedSets = [...]predefinedSet{
	{"junos-cifs", []string{"junos-netbios-session", "junos-smb-session"}},
	{"junos-mgcp", []string{"junos-mgcp-ua", "junos-mgcp-ca"}},
	{"junos-ms-rpc", []string{"junos-ms-rpc-tcp", "junos-ms-rpc-udp"}},
	{"junos-sun-rpc", []string{"junos-sun-rpc-tcp", "junos-sun-rpc-udp"}},
	{"junos-routing-inbound", []string{"junos-bgp", "junos-rip", "junos-ldp-tcp", "junos-ldp-udp"}},
}

func tcp(port uint16) []Term { return tcpRange(port, port) }
func udp(port uint16) []Term { return udpRange(port, port) }

func tcpRange(lo, hi uint16) []Term { return ports(packet.ProtoTCP, lo, hi) }
func udpRange(lo, hi uint16) []Term { return ports(packet.ProtoUDP, lo, hi) }

func ports(proto uint8, lo, hi uint16) []Term {
	return []Term{{Proto: proto, Src: AnyPort(), Dst: Range{lo, hi}, ICMPType: AnyICMP, ICMPCode: AnyICMP}}
}

func protocol(proto uint8) []Term { return icmp(proto, AnyICMP, AnyICMP) }

func icmp(proto uint8, typ, code int16) []Term {
	return []Term{{Proto: proto, Src: AnyPort(), Dst: AnyPort(), ICMPType: typ, ICMPCode: code}}
}

func join(parts ...[]Term) []Term {
	var all []Term
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func withTimeout(seconds uint32, terms []Term) []Term {
	for i := range terms {
		terms[i].Timeout = seconds
	}
	return terms
}
