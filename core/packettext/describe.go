package packettext

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
)

// Describe returns who sends a frame to whom, in the words of the language.
func Describe(f *packet.Frame) string {
	var h packet.Headers
	packet.DecodeLink(f.Link, f.Data, f.Wire, &h)
	if h.Family == 0 {
		return "no IP packet"
	}
	src, dst := h.Src.Netip(h.Family), h.Dst.Netip(h.Family)
	name := application.ProtocolText(h.Proto)
	switch {
	case h.HasHead && packet.IsICMP(h.Proto):
		return fmt.Sprintf("%s %v > %v type %d code %d", name, src, dst, h.ICMPType, h.ICMPCode)
	case h.HasHead:
		text := fmt.Sprintf("%s %v > %v", name, netip.AddrPortFrom(src, h.SrcPort), netip.AddrPortFrom(dst, h.DstPort))
		if h.HasL4 && h.Proto == packet.ProtoTCP {
			text += " flags " + flagsText(h.TCPFlags)
		}
		return text
	}
	return fmt.Sprintf("%s %v > %v", name, src, dst)
}

// flagsText returns TCP flags as the word flags takes them.
func flagsText(flags uint8) string {
	var names []string
	for _, name := range []string{"fin", "syn", "rst", "psh", "ack", "urg"} {
		if flags&flagBits[name] != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}
