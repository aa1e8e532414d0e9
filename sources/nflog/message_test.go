package nflog

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// attribute is one attribute of a message.
type attribute struct {
	typ   uint16
	value []byte
}

func number(typ uint16, n uint32) attribute {
	return attribute{typ, binary.BigEndian.AppendUint32(nil, n)}
}

// header is the attribute that says the Ethernet type and the hook.
func header(protocol uint16, hook uint8) attribute {
	return attribute{attrPacketHeader, append(binary.BigEndian.AppendUint16(nil, protocol), hook, 0)}
}

func stamp(seconds, micros uint64) attribute {
	return attribute{attrTimestamp, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, seconds), micros)}
}

func prefix(text string) attribute { return attribute{attrPrefix, append([]byte(text), 0)} }

func payload(b []byte) attribute { return attribute{attrPayload, b} }

// build appends a message of a group.
func build(b []byte, family uint8, group uint16, attributes ...attribute) []byte {
	b, start := nfnetlink.AppendMessage(b, nfnetlink.Message{Type: messagePacket, Family: family, ResID: group})
	for _, a := range attributes {
		b = nfnetlink.AppendAttr(b, a.typ, a.value)
	}
	return nfnetlink.EndMessage(b, start)
}

const (
	etherIPv4 = unix.ETH_P_IP
	etherARP  = unix.ETH_P_ARP
)

// udp is a UDP packet over IPv4, without its Ethernet header.
func udp() []byte { return nettest.UDP{}.Frame([]byte("payload"))[etherHeader:] }

// attributesOf returns the attributes of a message, and its family.
func attributesOf(t testing.TB, b []byte) (family uint8, attributes []byte) {
	t.Helper()
	m, _, ok := nfnetlink.NextMessage(b)
	if !ok {
		t.Fatal("malformed message")
	}
	return m.Family, m.Attrs
}

// TestParse reads attributes: what they say, and what is wrong with them.
func TestParse(t *testing.T) {
	whole := []attribute{
		header(etherIPv4, 2), number(2, 7), stamp(1700000000, 250000), number(attrIn, 3), number(attrOut, 4), number(attrPhysicalIn, 5),
		number(attrPhysicalOut, 6), number(attrSequence, 9), number(31, 1), number(32, 1), number(0x3fff, 1), prefix("DROP:x "), payload(udp()),
	}
	var m message
	if !m.parse(attributesOf(t, build(nil, unix.AF_INET, 5, whole...))) {
		t.Fatal("a sound message is not")
	}
	if m.protocol != etherIPv4 || m.hook != 2 || m.time != 1700000000_250000000 || m.in != 3 || m.out != 4 || m.physicalIn != 5 ||
		m.physicalOut != 6 || m.sequence != 9 || string(m.prefix) != "DROP:x " || string(m.payload) != string(udp()) || m.has != looked {
		t.Errorf("%+v", m)
	}
	if !m.parse(unix.AF_INET, nil) || m.has != 0 || m.prefix != nil || m.payload != nil || m.time != 0 {
		t.Errorf("no attributes: %+v", m)
	}
	for name, bad := range map[string]attribute{
		"short header":      {attrPacketHeader, []byte{8, 0}},
		"short interface":   {attrIn, []byte{0, 0, 1}},
		"short sequence":    {attrSequence, nil},
		"short time":        {attrTimestamp, make([]byte, 15)},
		"late time":         stamp(1<<40, 0),
		"more than seconds": stamp(1, 1000000),
		"twice":             prefix("x"),
	} {
		// Before it all is well, and known.
		b := build(nil, unix.AF_INET, 5, number(attrOut, 8), prefix("first"), bad)
		if m.parse(attributesOf(t, b)) || m.out != 8 || string(m.prefix) != "first" {
			t.Errorf("%s: %+v", name, m)
		}
	}
	_, attributes := attributesOf(t, build(nil, unix.AF_INET, 5, whole...))
	for cut := range len(attributes) - 1 { // the last byte is padding
		if m.parse(unix.AF_INET, attributes[:cut]) && m.has == looked {
			t.Errorf("cut at %d: the message is whole", cut)
		}
	}
	if m.parse(unix.AF_INET, []byte{3, 0, 1, 0}) {
		t.Error("an attribute shorter than its head")
	}
}

// TestDecodeFamilies finds the IP header in what rules of each family hand over.
func TestDecodeFamilies(t *testing.T) {
	frame := nettest.UDP{}.Frame([]byte("payload"))
	tagged := nettest.UDP{VLANs: []uint16{7, 8}}.Frame([]byte("payload"))
	pppoe := append([]byte{0x11, 0, 0, 1, 0, 40, 0, 0x21}, udp()...)
	tcp := udp()
	tcp[9] = packet.ProtoTCP // with 15 bytes of a header of 20
	for _, c := range []struct {
		name    string
		family  uint8
		head    attribute
		payload []byte
		told    bool
		notIP   bool
	}{
		{"ip", unix.AF_INET, header(etherIPv4, 2), udp(), true, false},
		{"ip without a packet header", unix.AF_INET, number(2, 0), udp(), true, false},
		{"ip6 that is none", unix.AF_INET6, header(unix.ETH_P_IPV6, 2), []byte{0}, false, true},
		{"wrong behind the addresses", unix.AF_INET, header(etherIPv4, 2), tcp, true, false},
		{"cut in the header", unix.AF_INET, header(etherIPv4, 2), udp()[:19], false, false},
		{"no payload", unix.AF_INET, header(etherIPv4, 2), nil, false, false},
		{"arp", 3, header(etherARP, 0), make([]byte, 28), false, true},
		{"unknown family", 200, header(etherIPv4, 0), udp(), false, true},
		{"bridge", familyBridge, header(etherIPv4, 2), udp(), true, false},
		{"bridge, tagged", familyBridge, header(typeQinQ, 2), tagged[etherHeader:], true, false},
		{"bridge, cut in the tag", familyBridge, header(typeVLAN, 2), tagged[etherHeader:][:3], false, true},
		{"bridge, PPPoE", familyBridge, header(typePPPoE, 2), pppoe, true, false},
		{"bridge, ARP", familyBridge, header(etherARP, 2), make([]byte, 28), false, true},
		{"bridge, no packet header", familyBridge, number(2, 0), udp(), false, true},
		{"ingress", familyNetdev, header(etherIPv4, 0), udp(), true, false},
		{"egress", familyNetdev, header(etherIPv4, hookEgress), frame, true, false},
		{"egress, tagged", familyNetdev, header(typeQinQ, hookEgress), tagged, true, false},
		{"egress of a tunnel", familyNetdev, header(etherIPv4, hookEgress), udp(), true, false},
	} {
		var m message
		if !m.parse(attributesOf(t, build(nil, c.family, 5, c.head, payload(c.payload)))) {
			t.Errorf("%s: malformed", c.name)
		}
		var h packet.Headers
		h.Family = packet.IPv6 // of the packet before
		cause := m.decode(&h)
		if told := h.Family != 0; told != c.told || !told && (cause == packet.NotIP) != c.notIP {
			t.Errorf("%s: %v, family %d", c.name, cause, h.Family)
		}
		if c.told && (h.Src != packet.Addr{192, 0, 2, 1} || h.Dst != packet.Addr{192, 0, 2, 2}) {
			t.Errorf("%s: from %v to %v", c.name, h.Src, h.Dst)
		}
	}
}

// TestInterfaces picks those of which the zones are meant to be.
func TestInterfaces(t *testing.T) {
	for _, c := range []struct {
		name    string
		m       message
		in, out uint32
	}{
		{"forwarded", message{family: unix.AF_INET, in: 1, out: 2}, 1, 2},
		{"routed from a bridge", message{family: unix.AF_INET, in: 9, physicalIn: 1, out: 2}, 9, 2},
		{"bridged, seen by rules for IP", message{family: unix.AF_INET, in: 9, out: 9, physicalIn: 1, physicalOut: 2}, 1, 2},
		{"bridged", message{family: familyBridge, in: 9, out: 9, physicalIn: 1, physicalOut: 2}, 1, 2},
		{"to the bridge itself", message{family: familyBridge, in: 9, physicalIn: 1}, 1, 0},
		{"bridge without ports", message{family: familyBridge, in: 9}, 9, 0},
		{"from the host", message{family: unix.AF_INET, out: 2}, 0, 2},
	} {
		if in, out := c.m.interfaces(); in != c.in || out != c.out {
			t.Errorf("%s: in %d, out %d, want %d, %d", c.name, in, out, c.in, c.out)
		}
	}
}

// TestDatagramSize is what the kernel is asked to allocate for a message.
func TestDatagramSize(t *testing.T) {
	for _, c := range []struct{ threshold, snapLength, want int }{
		{1, 192, minDatagram}, {1, 1024, minDatagram}, {16, 192, minDatagram}, {20, 192, 16 << 10}, {100, 192, 64 << 10}, {512, 1024, maxDatagram},
	} {
		if got := datagramSize(c.threshold, c.snapLength); got != c.want {
			t.Errorf("%d packets of %d bytes: %d, want %d", c.threshold, c.snapLength, got, c.want)
		}
	}
}
