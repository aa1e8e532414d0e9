package packettext

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/core/packet"
)

const (
	ip4Header      = 20
	ip6Header      = 40
	fragmentHeader = 8
	typeIPv4       = 0x0800
	typeIPv6       = 0x86dd
	typeVLAN       = 0x8100
)

// headers returns how long the packet is before its transport header.
func (p *Packet) headers() int {
	switch {
	case p.Src.Addr().Is4():
		return ip4Header + len(optionBytes[p.option])
	case p.fragment:
		return ip6Header + fragmentHeader
	}
	return ip6Header
}

// transport returns how long the transport header is.
func (p *Packet) transport() int {
	switch {
	case p.fragOffset > 0:
		return 8 // of data: the least that a fragment but the last carries
	case p.Proto == packet.ProtoTCP:
		return 20
	case p.Proto == packet.ProtoSCTP:
		return 12
	}
	return 8
}

// shortest returns the least length of the packet.
func (p *Packet) shortest() int { return p.headers() + p.transport() }

// Frame returns the packet as an Ethernet frame, with a tag if vlan is not 0.
func (p *Packet) Frame(vlan uint16) []byte {
	be := binary.BigEndian
	typ := uint16(typeIPv6)
	if p.Src.Addr().Is4() {
		typ = typeIPv4
	}
	b := make([]byte, 12, 18+p.length)
	if vlan != 0 {
		b = be.AppendUint16(b, typeVLAN)
		b = be.AppendUint16(b, vlan)
	}
	b = be.AppendUint16(b, typ)
	at := len(b)
	b = append(b, make([]byte, p.length)...)
	ip := b[at:]
	if typ == typeIPv4 {
		p.putIPv4(ip)
	} else {
		p.putIPv6(ip)
	}
	if p.fragOffset == 0 {
		p.putTransport(ip[p.headers():])
	}
	return b
}

func (p *Packet) putIPv4(ip []byte) {
	be := binary.BigEndian
	options := optionBytes[p.option]
	ip[0] = 4<<4 | uint8((ip4Header+len(options))/4)
	ip[1] = p.dscp << 2
	be.PutUint16(ip[2:], uint16(p.length))
	be.PutUint16(ip[4:], 1)
	fragment := uint16(p.fragOffset / 8)
	if p.more {
		fragment |= packet.MoreFragments << 13
	}
	be.PutUint16(ip[6:], fragment)
	ip[8], ip[9] = p.ttl, p.Proto
	copy(ip[12:], p.Src.Addr().AsSlice())
	copy(ip[16:], p.Dst.Addr().AsSlice())
	copy(ip[ip4Header:], options)
}

func (p *Packet) putIPv6(ip []byte) {
	be := binary.BigEndian
	be.PutUint16(ip, 6<<12|uint16(p.dscp)<<6)
	be.PutUint16(ip[4:], uint16(p.length-ip6Header))
	ip[6], ip[7] = p.Proto, p.ttl
	copy(ip[8:], p.Src.Addr().AsSlice())
	copy(ip[24:], p.Dst.Addr().AsSlice())
	if !p.fragment {
		return
	}
	ip[6] = packet.ProtoFragment
	h := ip[ip6Header:]
	h[0] = p.Proto
	offset := uint16(p.fragOffset)
	if p.more {
		offset |= 1
	}
	be.PutUint16(h[2:], offset)
	be.PutUint32(h[4:], 1)
}

func (p *Packet) putTransport(b []byte) {
	be := binary.BigEndian
	switch {
	case p.hasPorts:
		be.PutUint16(b, p.Src.Port())
		be.PutUint16(b[2:], p.Dst.Port())
		switch p.Proto {
		case packet.ProtoTCP:
			b[12], b[13] = 5<<4, p.flags
		case packet.ProtoUDP:
			be.PutUint16(b[4:], uint16(len(b)))
		}
	case packet.IsICMP(p.Proto):
		b[0], b[1] = p.icmpType, p.icmpCode
		be.PutUint16(b[4:], 1) // identifier and sequence number of an echo
		be.PutUint16(b[6:], 1)
	}
}
