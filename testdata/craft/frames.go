package main

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// The addresses of the recorded network; record.sh gives the hosts the same ones.
var (
	macRouter   = mac("02:00:00:02:00:01") // rt, wan0
	macAttacker = mac("02:00:00:02:00:66")
	macSwitch   = mac("02:00:00:02:00:fe")
	macClient   = mac("02:00:00:01:00:20")

	attacker4 = netip.MustParseAddr("198.51.100.66")
	attacker6 = netip.MustParseAddr("2001:db8:f::66")
	web4      = netip.MustParseAddr("192.0.2.80")
	web6      = netip.MustParseAddr("2001:db8:2::80")
	mail4     = netip.MustParseAddr("192.0.2.25")
	client4   = netip.MustParseAddr("10.0.1.20")
	dmz4      = netip.MustParseAddr("192.0.2.0")
)

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// ethernet is the frame header from the attacker to the router.
func ethernet(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: macAttacker, DstMAC: macRouter, EthernetType: t}
}

// ipv4 is a plain IPv4 header. Every attack uses its own identification, which makes it easy to find in a recording.
func ipv4(id uint16, src, dst netip.Addr, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{
		Version: 4, IHL: 5, TTL: 64, Id: id, Protocol: proto,
		SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
	}
}

// ipv6 carries the attack's identification as its flow label.
func ipv6(id uint16, src, dst netip.Addr, next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, HopLimit: 64, FlowLabel: uint32(id), NextHeader: next,
		SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
	}
}

func syn(srcPort, dstPort int) *layers.TCP {
	return &layers.TCP{SrcPort: layers.TCPPort(srcPort), DstPort: layers.TCPPort(dstPort), Seq: 1000, Window: 1024, SYN: true}
}

func udp(srcPort, dstPort int) *layers.UDP {
	return &layers.UDP{SrcPort: layers.UDPPort(srcPort), DstPort: layers.UDPPort(dstPort)}
}

func echo(id, seq uint16) *layers.ICMPv4 {
	return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: id, Seq: seq}
}

// build serialises layers with right lengths and checksums, and without the padding to 60 bytes that a sending card adds.
func build(parts ...gopacket.SerializableLayer) []byte {
	var network gopacket.NetworkLayer
	for _, part := range parts {
		switch l := part.(type) {
		case *layers.IPv4:
			network = l
		case *layers.IPv6:
			network = l
		case interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}:
			if network == nil {
				continue
			}
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				panic(err)
			}
		}
	}
	ether, isEthernet := parts[0].(*layers.Ethernet)
	if isEthernet {
		parts = parts[1:] // gopacket would pad, and some attacks are shorter than 60 bytes
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(err)
	}
	frame := append([]byte(nil), buf.Bytes()...)
	if !isEthernet {
		return frame
	}
	kind := uint16(ether.EthernetType)
	if kind == 0 { // 802.3: a length
		kind = uint16(len(frame))
	}
	header := append(append([]byte(nil), ether.DstMAC...), ether.SrcMAC...)
	return append(binary.BigEndian.AppendUint16(header, kind), frame...)
}

// padded is the frame as a real card sends it: at least 60 bytes.
func padded(frame []byte) []byte {
	return append(frame, make([]byte, max(0, 60-len(frame)))...)
}

// over4 is Ethernet, IPv4 and the rest.
func over4(ip *layers.IPv4, rest ...gopacket.SerializableLayer) []byte {
	return build(append([]gopacket.SerializableLayer{ethernet(layers.EthernetTypeIPv4), ip}, rest...)...)
}

// over6 is Ethernet, IPv6 and the rest.
func over6(ip *layers.IPv6, rest ...gopacket.SerializableLayer) []byte {
	return build(append([]gopacket.SerializableLayer{ethernet(layers.EthernetTypeIPv6), ip}, rest...)...)
}

// zeros is a payload of n bytes that says nothing.
func zeros(n int) gopacket.Payload { return make([]byte, n) }

const (
	ethLen = 14
	ip4Len = 20
	ip6Len = 40
)

// part is one fragment: bytes [from, to) of the datagram's payload, claimed to lie at offset `at`.
type part struct {
	from, to, at int
	more         bool
}

// fragments4 cuts an unfragmented frame as told. It does not mind overlaps: some attacks want them.
func fragments4(frame []byte, parts ...part) [][]byte {
	var out [][]byte
	payload := frame[ethLen+ip4Len:]
	for _, p := range parts {
		f := append(append([]byte(nil), frame[:ethLen+ip4Len]...), payload[p.from:p.to]...)
		off := uint16(p.at / 8)
		if p.more {
			off |= 0x2000
		}
		binary.BigEndian.PutUint16(f[ethLen+6:], off)
		binary.BigEndian.PutUint16(f[ethLen+2:], uint16(ip4Len+p.to-p.from))
		out = append(out, checksum4(f))
	}
	return out
}

// fragments6 is the same for IPv6, with a fragment header.
func fragments6(id uint16, frame []byte, parts ...part) [][]byte {
	var out [][]byte
	payload := frame[ethLen+ip6Len:]
	next := frame[ethLen+6]
	for _, p := range parts {
		f := append([]byte(nil), frame[:ethLen+ip6Len]...)
		f[ethLen+6] = byte(layers.IPProtocolIPv6Fragment)
		off := uint16(p.at)
		if p.more {
			off |= 1
		}
		header := binary.BigEndian.AppendUint16([]byte{next, 0}, off)
		header = binary.BigEndian.AppendUint32(header, uint32(id))
		f = append(append(f, header...), payload[p.from:p.to]...)
		binary.BigEndian.PutUint16(f[ethLen+4:], uint16(len(f)-ethLen-ip6Len))
		out = append(out, f)
	}
	return out
}

// options puts raw option bytes into the IPv4 header of a frame, padded with end-of-options.
func options(frame []byte, raw ...byte) []byte {
	for len(raw)%4 != 0 {
		raw = append(raw, 0)
	}
	f := append([]byte(nil), frame[:ethLen+ip4Len]...)
	f = append(append(f, raw...), frame[ethLen+ip4Len:]...)
	f[ethLen] = 0x40 | byte(5+len(raw)/4)
	binary.BigEndian.PutUint16(f[ethLen+2:], uint16(len(f)-ethLen))
	return checksum4(f)
}

// edit changes bytes of the IP packet in a copy of the frame.
func edit(frame []byte, at int, with ...byte) []byte {
	f := append([]byte(nil), frame...)
	copy(f[ethLen+at:], with)
	return f
}

// checksum4 makes the IPv4 header checksum right again, as far as the header is within the frame.
func checksum4(f []byte) []byte {
	end := ethLen + int(f[ethLen]&15)*4
	if end > len(f) {
		end = len(f)
	}
	f[ethLen+10], f[ethLen+11] = 0, 0
	var sum uint32
	for i := ethLen; i+1 < end; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(f[ethLen+10:], ^uint16(sum))
	return f
}

// plus is the n-th address after a.
func plus(a netip.Addr, n int) netip.Addr {
	for range n {
		a = a.Next()
	}
	return a
}
