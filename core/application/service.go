package application

import "github.com/rtflow/pipelined/core/packet"

// services finds the service name of a packet. Ports are looked up in two steps, by their high and their low byte: the
// named ports lie close together, so that the pages that exist fit into the first-level cache, where a flat table of all
// ports of two protocols (256 KiB) does not, and there is no branch to mispredict as in a search.
type services struct {
	protocols [256]uint16 // by protocol number, for those without ports
	tcp, udp  portIndex
}

// portIndex maps a port to an application id. Page 0 is the page without names.
type portIndex struct {
	page  [256]uint8 // by the port's high byte
	pages [][256]uint16
}

func (x *portIndex) lookup(port uint16) uint16 {
	return x.pages[x.page[port>>8]][uint8(port)]
}

// claim gives the ports of r to the application id where no other has them.
func (x *portIndex) claim(r Range, id uint16) {
	for p := int(r.Lo); p <= int(r.Hi); p++ {
		hi := p >> 8
		if x.page[hi] == 0 {
			x.pages = append(x.pages, [256]uint16{})
			x.page[hi] = uint8(len(x.pages) - 1)
		}
		if slot := &x.pages[x.page[hi]][p&0xff]; *slot == None {
			*slot = id
		}
	}
}

func newServices() *services {
	s := &services{}
	s.tcp.pages = make([][256]uint16, 1)
	s.udp.pages = make([][256]uint16, 1)
	s.protocols[packet.ProtoICMP] = ICMP
	s.protocols[packet.ProtoICMPv6] = ICMPv6
	for i := range predefinedApps {
		for _, t := range predefinedApps[i].terms {
			s.claim(&t, uint16(firstPredefined+i))
		}
	}
	return s
}

// claim makes the term's application the service name of what it describes. An application that means a whole transport
// protocol, such as junos-tcp-any, tells nothing about a packet and names none.
func (s *services) claim(t *Term, id uint16) {
	switch {
	case hasPorts(t.Proto) && t.Dst.Lo <= 1 && t.Dst.Hi == 65535:
	case t.Proto == packet.ProtoTCP:
		s.tcp.claim(t.Dst, id)
	case t.Proto == packet.ProtoUDP:
		s.udp.claim(t.Dst, id)
	case s.protocols[t.Proto] == None:
		s.protocols[t.Proto] = id
	}
}

func (s *services) lookup(proto uint8, port uint16) uint16 {
	switch proto {
	case packet.ProtoTCP:
		return s.tcp.lookup(port)
	case packet.ProtoUDP:
		return s.udp.lookup(port)
	default:
		return s.protocols[proto]
	}
}
