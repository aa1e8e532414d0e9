package packet

import (
	"bytes"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// differs are the frames of which gopacket thinks otherwise, and why.
var differs = map[string]string{
	"QinQ, old type":                "gopacket does not know the type 0x9100",
	"QinQ, 0x9200 and 0x9300":       "nor these",
	"eight tags":                    "compared by hand: the outer two count",
	"IPv6: jumbogram":               "gopacket wants the jumbo option to be right",
	"IPv6: UDP jumbogram":           "gopacket wants the jumbo option to be right",
	"total length beyond the frame": "gopacket counts the bytes that are there",
	"frame cut behind the ports":    "gopacket wants the whole header",
	"AH in IPv4 stays AH":           "gopacket looks behind AH in IPv4, too",
	"ICMP in IPv6":                  "gopacket takes ICMP for ICMP wherever it is",
}

// TestAgainstGopacket compares what Decode says of packets that are right with what gopacket says.
func TestAgainstGopacket(t *testing.T) {
	compared := map[gopacket.LayerType]int{}
	for _, tc := range decodeCases() {
		if tc.want == nil || tc.cause != OK || tc.link != LinkEthernet {
			continue
		}
		var h Headers
		if cause := Decode(tc.frame, len(tc.frame), &h); cause != OK {
			t.Errorf("%s: %v", tc.name, cause)
			continue
		}
		if h.Family == IPv4 && h.Options&OptBad != 0 || differs[tc.name] != "" {
			continue // gopacket refuses a packet for its options; here a screen judges them
		}
		same := func(what string, ours, theirs int) {
			t.Helper()
			if ours != theirs {
				t.Errorf("%s: %s is %d here and %d in gopacket", tc.name, what, ours, theirs)
			}
		}
		p := gopacket.NewPacket(tc.frame, layers.LayerTypeEthernet, gopacket.NoCopy)
		tags := make([]int, 2+maxVLANTags)
		tag := 0
		for _, l := range p.Layers() {
			compared[l.LayerType()]++
			switch l := l.(type) {
			case *layers.Dot1Q:
				tags[tag] = int(l.VLANIdentifier)
				tag++
			case *layers.IPv4:
				same("family", int(h.Family), int(IPv4))
				if !bytes.Equal(h.Src[:4], l.SrcIP) || !bytes.Equal(h.Dst[:4], l.DstIP) {
					t.Errorf("%s: addresses", tc.name)
				}
				same("length", int(h.IPLen), int(l.Length))
				same("data", int(h.DataLen), len(l.Payload))
				same("protocol", int(h.Proto), int(l.Protocol))
				same("TTL", int(h.TTL), int(l.TTL))
				same("DSCP", int(h.DSCP), int(l.TOS>>2))
				same("flags", int(h.IPFlags), int(l.Flags))
				same("fragment offset", int(h.FragOff), int(l.FragOffset)*8)
			case *layers.IPv6:
				same("family", int(h.Family), int(IPv6))
				if !bytes.Equal(h.Src[:], l.SrcIP) || !bytes.Equal(h.Dst[:], l.DstIP) {
					t.Errorf("%s: addresses", tc.name)
				}
				same("length", int(h.IPLen), int(l.Length)+ipv6Header)
				same("hop limit", int(h.TTL), int(l.HopLimit))
				same("DSCP", int(h.DSCP), int(l.TrafficClass>>2))
			case *layers.IPv6Fragment:
				same("fragment id", int(h.FragID), int(l.Identification))
				same("fragment offset", int(h.FragOff), int(l.FragmentOffset)*8)
			case *layers.TCP:
				same("source port", int(h.SrcPort), int(l.SrcPort))
				same("destination port", int(h.DstPort), int(l.DstPort))
				flags := 0
				for i, on := range []bool{l.FIN, l.SYN, l.RST, l.PSH, l.ACK, l.URG} {
					if on {
						flags |= 1 << i
					}
				}
				same("flags", int(h.TCPFlags), flags)
			case *layers.UDP:
				same("source port", int(h.SrcPort), int(l.SrcPort))
				same("destination port", int(h.DstPort), int(l.DstPort))
			case *layers.SCTP:
				same("source port", int(h.SrcPort), int(l.SrcPort))
				same("destination port", int(h.DstPort), int(l.DstPort))
			case *layers.ICMPv4:
				same("type", int(h.ICMPType), int(l.TypeCode.Type()))
				same("code", int(h.ICMPCode), int(l.TypeCode.Code()))
				if h.Echo() {
					same("identifier", int(h.SrcPort), int(l.Id))
					same("sequence", int(h.DstPort), int(l.Seq))
				}
			case *layers.ICMPv6:
				if h.Family == IPv6 {
					same("type", int(h.ICMPType), int(l.TypeCode.Type()))
					same("code", int(h.ICMPCode), int(l.TypeCode.Code()))
				}
			}
		}
		same("VLAN", int(h.VLAN), tags[0])
		same("inner VLAN", int(h.InnerVLAN), tags[1])
	}
	for _, l := range []gopacket.LayerType{layers.LayerTypeDot1Q, layers.LayerTypeIPv4, layers.LayerTypeIPv6, layers.LayerTypeTCP,
		layers.LayerTypeUDP, layers.LayerTypeSCTP, layers.LayerTypeICMPv4, layers.LayerTypeICMPv6, layers.LayerTypeIPv6Fragment} {
		if compared[l] == 0 {
			t.Errorf("no %v was compared", l)
		}
	}
}
