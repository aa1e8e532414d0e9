package packet

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// The builders put frames together from the inside out, so that a test can tell any lie it wants.

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }

func be16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

func ether(typ int, payload []byte) []byte {
	return cat([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, be16(typ), payload)
}

// tagged is an Ethernet frame with VLAN tags, the outer first: tag type, id.
func tagged(typ int, payload []byte, tags ...[2]int) []byte {
	for _, t := range slices.Backward(tags) {
		payload = cat(be16(t[1]), be16(typ), payload)
		typ = t[0]
	}
	return ether(typ, payload)
}

var (
	src4, dst4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	src6, dst6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// ip4 is what varies in an IPv4 header.
type ip4 struct {
	proto int
	frag  int // flags and offset field
	id    int
	opts  []byte
}

func (p ip4) with(payload []byte) []byte {
	p.opts = append(slices.Clone(p.opts), make([]byte, -len(p.opts)&3)...)
	hlen := 20 + len(p.opts)
	return cat([]byte{0x40 | byte(hlen/4), 46 << 2}, be16(hlen+len(payload)), be16(p.id), be16(p.frag),
		[]byte{64, byte(p.proto), 0, 0}, src4.AsSlice(), dst4.AsSlice(), p.opts, payload)
}

func ip6(next int, payload []byte) []byte {
	return cat([]byte{0x60 | 46>>2, 46 << 6 & 0xff, 0, 0}, be16(len(payload)), []byte{byte(next), 64},
		src6.AsSlice(), dst6.AsSlice(), payload)
}

// ext is an extension header of 8 bytes and more, whose content is behind its first two bytes.
func ext(next int, content []byte, payload []byte) []byte {
	content = append(slices.Clone(content), make([]byte, -(len(content)+2)&7)...)
	return cat([]byte{byte(next), byte((len(content)+2)/8 - 1)}, content, payload)
}

// frag6 is a fragment header; off is in bytes, more is 1 or 0.
func frag6(next, off, more int, payload []byte) []byte {
	return cat([]byte{byte(next), 0}, be16(off|more), []byte{0xde, 0xad, 0xbe, 0xef}, payload)
}

// ah is an authentication header of that many 32-bit words.
func ah(next, words int, payload []byte) []byte {
	return cat([]byte{byte(next), byte(words - 2)}, make([]byte, words*4-2), payload)
}

func tcp(flags int, payload ...byte) []byte {
	return cat(be16(1000), be16(80), make([]byte, 8), []byte{5 << 4, byte(flags)}, make([]byte, 6), payload)
}

func udp(payload ...byte) []byte {
	return cat(be16(1001), be16(53), be16(8+len(payload)), be16(0), payload)
}

func sctp() []byte { return cat(be16(1002), be16(36412), make([]byte, 8)) }

func icmp(typ, code int, rest ...byte) []byte {
	return cat([]byte{byte(typ), byte(code), 0, 0}, rest)
}

func echo(typ int) []byte { return icmp(typ, 0, 0, 7, 0, 9, 'h', 'i') }

// icmpError quotes a packet.
func icmpError(typ int, quoted []byte) []byte { return cat(icmp(typ, 1, 0, 0, 0, 0), quoted) }

func v4(p ip4, payload []byte) []byte        { return ether(etherIPv4, p.with(payload)) }
func v6(next int, payload []byte) []byte     { return ether(etherIPv6, ip6(next, payload)) }
func set(b []byte, at int, v ...byte) []byte { b = slices.Clone(b); copy(b[at:], v); return b }
