package packet

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// benchFrames are the frames that BenchmarkDecode and its comparison decode.
func benchFrames() []struct {
	name  string
	frame []byte
} {
	return []struct {
		name  string
		frame []byte
	}{
		{"TCPv4", v4(ip4{proto: ProtoTCP}, tcp(ACK, make([]byte, 100)...))},
		{"TCPv6", v6(ProtoTCP, tcp(ACK, make([]byte, 100)...))},
		{"UDP", v4(ip4{proto: ProtoUDP}, udp(make([]byte, 100)...))},
		{"VLAN", tagged(etherIPv4, ip4{proto: ProtoTCP}.with(tcp(ACK)), [2]int{etherVLAN, 100})},
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, bf := range benchFrames() {
		b.Run(bf.name, func(b *testing.B) {
			b.ReportAllocs()
			var h Headers
			for b.Loop() {
				if Decode(bf.frame, len(bf.frame), &h) != OK {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkDecodeGopacket(b *testing.B) {
	for _, bf := range benchFrames() {
		b.Run(bf.name, func(b *testing.B) {
			b.ReportAllocs()
			var eth layers.Ethernet
			var vlan layers.Dot1Q
			var ip4 layers.IPv4
			var ip6 layers.IPv6
			var tcp layers.TCP
			var udp layers.UDP
			parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &eth, &vlan, &ip4, &ip6, &tcp, &udp)
			parser.IgnoreUnsupported = true
			var found []gopacket.LayerType
			for b.Loop() {
				if err := parser.DecodeLayers(bf.frame, &found); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
