package main

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// attack is a named run of frames, sent with the same gap between any two.
type attack struct {
	name, about string
	gap         time.Duration
	frames      func(id uint16) [][]byte // id: IPv4 identification or IPv6 flow label of its packets
}

// attackID returns the id of the n-th attack: far from what a host's kernel is likely to count up from within a minute.
func attackID(n int) uint16 { return 0xa000 + uint16(n)*0x10 }

func one(f func(id uint16) []byte) func(uint16) [][]byte {
	return func(id uint16) [][]byte { return [][]byte{f(id)} }
}

// flags returns a TCP segment from the attacker to the web server with the given control bits, over IPv4 and over IPv6.
func flags(srcPort int, set func(*layers.TCP)) func(uint16) [][]byte {
	return func(id uint16) [][]byte {
		segment := func() *layers.TCP {
			t := syn(srcPort, 80)
			t.SYN = false
			set(t)
			return t
		}
		return [][]byte{
			over4(ipv4(id, attacker4, web4, layers.IPProtocolTCP), segment()),
			over6(ipv6(id, attacker6, web6, layers.IPProtocolTCP), segment()),
		}
	}
}

// option returns a UDP datagram to the web server's discard port with raw IPv4 options.
func option(raw ...byte) func(uint16) [][]byte {
	return one(func(id uint16) []byte {
		return options(over4(ipv4(id, attacker4, web4, layers.IPProtocolUDP), udp(40009, 9), zeros(16)), raw...)
	})
}

// many returns n frames.
func many(n int, f func(id uint16, i int) []byte) func(uint16) [][]byte {
	return func(id uint16) [][]byte {
		var out [][]byte
		for i := range n {
			out = append(out, f(id, i))
		}
		return out
	}
}

func address(a netip.Addr) []byte { return a.AsSlice() }

func route(kind byte, hops ...netip.Addr) []byte {
	raw := []byte{kind, byte(3 + 4*len(hops)), 4}
	for _, h := range hops {
		raw = append(raw, address(h)...)
	}
	return append([]byte{1}, raw...) // a no-operation first, so that the addresses are aligned
}

var attacks = []attack{
	// Signatures: one packet, or one datagram, is enough.
	{"land", "TCP SYN with source address = destination address; the second with other ports, the third IPv6", time.Millisecond, func(id uint16) [][]byte {
		return [][]byte{
			over4(ipv4(id, web4, web4, layers.IPProtocolTCP), syn(80, 80)),
			over4(ipv4(id, web4, web4, layers.IPProtocolTCP), syn(4444, 80)),
			over6(ipv6(id, web6, web6, layers.IPProtocolTCP), syn(80, 80)),
		}
	}},
	{"winnuke", "TCP to port 139 with URG", 0, one(func(id uint16) []byte {
		t := syn(40139, 139)
		t.SYN, t.ACK, t.PSH, t.URG, t.Urgent = false, true, true, true, 3
		return over4(ipv4(id, attacker4, web4, layers.IPProtocolTCP), t, gopacket.Payload("out of band"))
	})},
	{"syn-fin", "TCP SYN+FIN, IPv4 and IPv6", time.Millisecond, flags(40001, func(t *layers.TCP) { t.SYN, t.FIN = true, true })},
	{"no-flag", "TCP without any flag, IPv4 and IPv6", time.Millisecond, flags(40002, func(*layers.TCP) {})},
	{"fin-no-ack", "TCP FIN without ACK, IPv4 and IPv6", time.Millisecond, flags(40003, func(t *layers.TCP) { t.FIN = true })},
	{"syn-frag", "fragmented TCP SYN (first and last fragment)", time.Millisecond, func(id uint16) [][]byte {
		f := over4(ipv4(id, attacker4, web4, layers.IPProtocolTCP), syn(40004, 80), zeros(28))
		return fragments4(f, part{0, 24, 0, true}, part{24, 48, 24, false})
	}},
	{"icmp-frag", "fragmented ICMP echo request of 100 bytes (first and last fragment)", time.Millisecond, func(id uint16) [][]byte {
		f := over4(ipv4(id, attacker4, web4, layers.IPProtocolICMPv4), echo(0x0f0f, 1), zeros(92))
		return fragments4(f, part{0, 64, 0, true}, part{64, 100, 64, false})
	}},
	{"icmp-large", "ICMP echo request, IP length 1228, not fragmented", 0, one(func(id uint16) []byte {
		return over4(ipv4(id, attacker4, web4, layers.IPProtocolICMPv4), echo(0x0f10, 1), zeros(1200))
	})},
	{"ping-death", "last fragment of an ICMP echo that ends at byte 65628", 0, func(id uint16) [][]byte {
		f := over4(ipv4(id, attacker4, web4, layers.IPProtocolICMPv4), echo(0x0f11, 1), zeros(92))
		return fragments4(f, part{0, 100, 65528, false})
	}},
	{"tear-drop", "second fragment inside the first: UDP over IPv4, then over IPv6", time.Millisecond, func(id uint16) [][]byte {
		f := over4(ipv4(id, attacker4, web4, layers.IPProtocolUDP), udp(40005, 9), zeros(64))
		g := over6(ipv6(id, attacker6, web6, layers.IPProtocolUDP), udp(40005, 9), zeros(64))
		parts := []part{{0, 40, 0, true}, {40, 56, 24, false}}
		return append(fragments4(f, parts...), fragments6(id, g, parts...)...)
	}},
	{"fragments", "well-formed UDP fragments: three over IPv4, then two over IPv6", time.Millisecond, func(id uint16) [][]byte {
		f := over4(ipv4(id, attacker4, web4, layers.IPProtocolUDP), udp(40006, 9), zeros(1000))
		g := over6(ipv6(id, attacker6, web6, layers.IPProtocolUDP), udp(40006, 9), zeros(1000))
		return append(fragments4(f, part{0, 400, 0, true}, part{400, 800, 400, true}, part{800, 1008, 800, false}),
			fragments6(id, g, part{0, 800, 0, true}, part{800, 1008, 800, false})...)
	}},
	{"tiny-frag", "first fragment of 8 bytes: the TCP flags are in the second", time.Millisecond, func(id uint16) [][]byte {
		f := over4(ipv4(id, attacker4, web4, layers.IPProtocolTCP), syn(40007, 80), zeros(4))
		return fragments4(f, part{0, 8, 0, true}, part{8, 24, 8, false})
	}},
	{"record-route", "IPv4 option 7", 0, option(1, 7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
	{"timestamp", "IPv4 option 68 (number 4)", 0, option(68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
	{"security", "IPv4 option 130 (number 2)", 0, option(130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
	{"stream-id", "IPv4 option 136 (number 8)", 0, option(136, 4, 0, 7)},
	{"loose-route", "IPv4 option 131 (number 3)", 0, option(route(131, mail4)...)},
	{"strict-route", "IPv4 option 137 (number 9)", 0, option(route(137, mail4)...)},
	{"bad-option", "IPv4 option with length 0, then one that is longer than the header", time.Millisecond, func(id uint16) [][]byte {
		return append(option(7, 0, 4, 0)(id), option(68, 40, 5, 0)(id)...)
	}},
	{"routing-0", "IPv6 routing header type 0 before an ICMPv6 echo request", 0, one(func(id uint16) []byte {
		header := append([]byte{byte(layers.IPProtocolICMPv6), 2, 0, 1, 0, 0, 0, 0}, address(web6)...)
		// The checksum of the echo is that of the final destination.
		e := over6(ipv6(id, attacker6, web6, layers.IPProtocolICMPv6), echo6()...)
		return over6(ipv6(id, attacker6, web6, layers.IPProtocolIPv6Routing), gopacket.Payload(header), gopacket.Payload(e[ethLen+ip6Len:]))
	})},
	{"unknown-protocol", "protocol 200 over IPv4, next header 200 over IPv6", time.Millisecond, func(id uint16) [][]byte {
		return [][]byte{
			over4(ipv4(id, attacker4, web4, 200), zeros(32)),
			over6(ipv6(id, attacker6, web6, 200), zeros(32)),
		}
	}},
	{"spoof", "TCP SYN on the internet side with a source of the LAN, then with one of the DMZ; padded to 60 bytes", time.Millisecond, func(id uint16) [][]byte {
		return [][]byte{
			padded(over4(ipv4(id, netip.MustParseAddr("10.0.1.99"), web4, layers.IPProtocolTCP), syn(40010, 80))),
			padded(over4(ipv4(id, mail4, web4, layers.IPProtocolTCP), syn(40011, 80))),
		}
	}},
	// Protocols that are neither TCP, UDP nor ICMP, and double tags.
	{"sctp", "SCTP INIT to port 3868", 0, one(func(id uint16) []byte {
		return over4(ipv4(id, attacker4, web4, layers.IPProtocolSCTP),
			&layers.SCTP{SrcPort: 40012, DstPort: 3868},
			&layers.SCTPInit{SCTPChunk: layers.SCTPChunk{Type: layers.SCTPChunkTypeInit}, InitiateTag: 1, AdvertisedReceiverWindowCredit: 65536, OutboundStreams: 1, InboundStreams: 1, InitialTSN: 1})
	})},
	{"gre", "GRE with an IPv4 packet inside", 0, one(func(id uint16) []byte {
		return over4(ipv4(id, attacker4, web4, layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeIPv4},
			ipv4(id, netip.MustParseAddr("198.18.9.1"), netip.MustParseAddr("198.18.9.2"), layers.IPProtocolUDP), udp(1, 2))
	})},
	{"esp", "ESP", 0, one(func(id uint16) []byte {
		return over4(ipv4(id, attacker4, web4, layers.IPProtocolESP), gopacket.Payload("\x00\x00\x10\x01\x00\x00\x00\x01"), zeros(40))
	})},
	{"ospf", "OSPF hello to 224.0.0.5", 0, one(func(id uint16) []byte {
		ip := ipv4(id, attacker4, netip.MustParseAddr("224.0.0.5"), layers.IPProtocolOSPF)
		ip.TTL = 1
		hello := append([]byte{2, 1, 0, 44, 198, 51, 100, 66}, make([]byte, 36)...)
		f := over4(ip, gopacket.Payload(hello))
		copy(f, []byte{0x01, 0x00, 0x5e, 0x00, 0x00, 0x05})
		return f
	})},
	{"qinq", "TCP SYN to port 80 in a double tagged frame (802.1ad 200, 802.1Q 100)", 0, one(func(id uint16) []byte {
		return build(ethernet(layers.EthernetTypeQinQ), &layers.Dot1Q{VLANIdentifier: 200, Type: layers.EthernetTypeDot1Q},
			&layers.Dot1Q{VLANIdentifier: 100, Type: layers.EthernetTypeIPv4},
			ipv4(id, attacker4, web4, layers.IPProtocolTCP), syn(40013, 80))
	})},
	{"ntp-large", "UDP to port 123 of the mail host, IP length 628", 2 * time.Millisecond, many(8, func(id uint16, i int) []byte {
		return over4(ipv4(id, attacker4, mail4, layers.IPProtocolUDP), udp(40123, 123), zeros(600))
	})},
	// Sweeps: many targets within a few milliseconds.
	{"icmp-sweep", "ICMP echo requests to 192.0.2.100-123", 100 * time.Microsecond, many(24, func(id uint16, i int) []byte {
		return over4(ipv4(id, attacker4, plus(dmz4, 100+i), layers.IPProtocolICMPv4), echo(0x0f20, 1), zeros(8))
	})},
	{"tcp-sweep", "TCP SYNs to port 80 of 192.0.2.100-123", 100 * time.Microsecond, many(24, func(id uint16, i int) []byte {
		return over4(ipv4(id, attacker4, plus(dmz4, 100+i), layers.IPProtocolTCP), syn(40020, 80))
	})},
	{"udp-sweep", "UDP to port 161 of 192.0.2.100-123", 100 * time.Microsecond, many(24, func(id uint16, i int) []byte {
		return over4(ipv4(id, attacker4, plus(dmz4, 100+i), layers.IPProtocolUDP), udp(40021, 161), zeros(20))
	})},
	{"udp-scan", "UDP to ports 1-24 of the web server", 100 * time.Microsecond, many(24, func(id uint16, i int) []byte {
		return over4(ipv4(id, attacker4, web4, layers.IPProtocolUDP), udp(40022, 1+i), zeros(4))
	})},
	{"tcp-scan", "TCP SYNs to ports 8000-8023 of the web server", 100 * time.Microsecond, many(24, func(id uint16, i int) []byte {
		return over4(ipv4(id, attacker4, web4, layers.IPProtocolTCP), syn(40023, 8000+i))
	})},
	// Floods: 600 packets in about 0.3 s.
	{"syn-flood", "600 TCP SYNs to port 80 of the web server, sources spread over 198.19.0.0/16", 500 * time.Microsecond, func() func(uint16) [][]byte {
		return func(id uint16) [][]byte {
			r := rand.New(rand.NewPCG(1, uint64(id)))
			return many(600, func(id uint16, i int) []byte {
				src := netip.AddrFrom4([4]byte{198, 19, byte(r.IntN(256)), byte(1 + r.IntN(254))})
				return over4(ipv4(id, src, web4, layers.IPProtocolTCP), syn(1024+r.IntN(60000), 80))
			})(id)
		}
	}()},
	{"udp-flood", "600 UDP datagrams to port 5060 of the mail host", 500 * time.Microsecond, many(600, func(id uint16, i int) []byte {
		return over4(ipv4(id, attacker4, mail4, layers.IPProtocolUDP), udp(20000+i, 5060), zeros(32))
	})},
	{"icmp-flood", "600 ICMP echo requests to the web server", 500 * time.Microsecond, many(600, func(id uint16, i int) []byte {
		return over4(ipv4(id, attacker4, web4, layers.IPProtocolICMPv4), echo(0x0f30, uint16(i+1)), zeros(16))
	})},
	{"malformed", "headers with false lengths or cut off; see malformed.go for the order", time.Millisecond, malformed},
	// What is not IP.
	{"dhcp", "DHCPDISCOVER, broadcast from 0.0.0.0 (LAN)", 0, one(dhcpDiscover)},
	{"lldp", "LLDP from the switch", 0, one(func(uint16) []byte {
		return build(&layers.Ethernet{SrcMAC: macSwitch, DstMAC: mac("01:80:c2:00:00:0e"), EthernetType: layers.EthernetTypeLinkLayerDiscovery},
			gopacket.Payload("\x02\x07\x04\x02\x00\x00\x02\x00\xfe\x04\x03\x05p1\x06\x02\x00\x78\x00\x00"), zeros(26))
	})},
	{"stp", "spanning tree BPDU, an 802.3 frame with a length instead of a type", 0, one(func(uint16) []byte {
		return build(&layers.Ethernet{SrcMAC: macSwitch, DstMAC: mac("01:80:c2:00:00:00"), EthernetType: layers.EthernetTypeLLC},
			gopacket.Payload("\x42\x42\x03"), zeros(35))
	})},
}

func echo6() []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)},
		&layers.ICMPv6Echo{Identifier: 0x0f12, SeqNumber: 1},
		zeros(8),
	}
}

func dhcpDiscover(id uint16) []byte {
	return build(
		&layers.Ethernet{SrcMAC: macClient, DstMAC: mac("ff:ff:ff:ff:ff:ff"), EthernetType: layers.EthernetTypeIPv4},
		ipv4(id, netip.IPv4Unspecified(), netip.MustParseAddr("255.255.255.255"), layers.IPProtocolUDP),
		udp(68, 67),
		&layers.DHCPv4{
			Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: 0x12345678, ClientHWAddr: macClient,
			ClientIP: net.IPv4zero, YourClientIP: net.IPv4zero, NextServerIP: net.IPv4zero, RelayAgentIP: net.IPv4zero,
			Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(layers.DHCPMsgTypeDiscover)})},
		})
}

const markerType = layers.EthernetType(0x88b5) // IEEE 802, local experimental

// marker is a frame that record.sh sends to see that the recording has begun; tidy removes it.
var marker = attack{name: "marker", frames: one(func(uint16) []byte {
	return build(&layers.Ethernet{SrcMAC: macSwitch, DstMAC: mac("ff:ff:ff:ff:ff:ff"), EthernetType: markerType}, gopacket.Payload("recording begins"))
})}
