package main

import (
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// malformed is one frame for each way in which a header can lie about its length, or end too early.
// Unless the fault is in the checksum itself, the IPv4 header checksum is right.
func malformed(id uint16) [][]byte {
	tcp := over4(ipv4(id, attacker4, web4, layers.IPProtocolTCP), syn(40030, 80))
	dgram := over4(ipv4(id, attacker4, web4, layers.IPProtocolUDP), udp(40031, 9), zeros(16))
	tcp6 := over6(ipv6(id, attacker6, web6, layers.IPProtocolTCP), syn(40030, 80))
	chain := over6(ipv6(id, attacker6, web6, layers.IPProtocolIPv6HopByHop),
		gopacket.Payload{byte(layers.IPProtocolTCP), 7, 1, 4, 0, 0, 0, 0}) // says 64 bytes, has 8
	const tcpOffset = ip4Len + 12
	const udpLength = ip4Len + 4
	return [][]byte{
		checksum4(edit(tcp, 2, 1000>>8, 1000&0xff)),                                       // 1 IPv4 total length beyond the frame
		checksum4(edit(tcp, 2, 0, 10)),                                                    // 2 IPv4 total length shorter than the header
		checksum4(edit(tcp, 0, 0x44)),                                                     // 3 IHL 4
		checksum4(edit(dgram[:ethLen+ip4Len+8], 0, 0x4f)),                                 // 4 IHL 15, frame ends before
		checksum4(edit(tcp, 0, 0x75)),                                                     // 5 version 7 under the IPv4 ethertype
		edit(tcp, 10, 0xde, 0xad),                                                         // 6 IPv4 header checksum wrong
		dgram[:ethLen+12],                                                                 // 7 IPv4 header cut at 12 bytes
		edit(tcp, tcpOffset, 0xf0),                                                        // 8 TCP data offset 60, segment of 20 bytes
		edit(tcp, tcpOffset, 0x30),                                                        // 9 TCP data offset 12
		checksum4(edit(tcp[:ethLen+ip4Len+10], 2, 0, ip4Len+10)),                          // 10 TCP header cut at 10 bytes
		checksum4(edit(dgram[:ethLen+ip4Len+4], 2, 0, ip4Len+4)),                          // 11 UDP header cut at 4 bytes
		edit(dgram, udpLength, 0x03, 0xe8),                                                // 12 UDP length beyond the packet
		edit(dgram, udpLength, 0, 4),                                                      // 13 UDP length shorter than its header
		over4(ipv4(id, attacker4, web4, layers.IPProtocolICMPv4), gopacket.Payload{8, 0}), // 14 ICMP of 2 bytes
		edit(tcp6, 4, 0x03, 0xe8),                                                         // 15 IPv6 payload length beyond the frame
		chain,                                                                             // 16 IPv6 extension header chain that runs off the end
		tcp6[:ethLen+30],                                                                  // 17 IPv6 header cut at 30 bytes
		edit(tcp6, 0, 0x40),                                                               // 18 version 4 under the IPv6 ethertype
		build(ethernet(layers.EthernetTypeIPv4)),                                          // 19 an Ethernet header that says IPv4, nothing else
		build(ethernet(layers.EthernetTypeIPv6)),                                          // 20 the same, IPv6
		build(ethernet(layers.EthernetTypeDot1Q), gopacket.Payload{0, 100, 0x08, 0x00, 0x45, 0x00}), // 21 a VLAN tag and two bytes
	}
}
