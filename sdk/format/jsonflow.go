package format

import (
	"net/netip"

	"github.com/rtflow/pipelined/sdk/event"
)

// end is one end of a flow.
type end struct {
	addr           netip.Addr
	port           uint16
	bytes, packets uint64
	nat            netip.AddrPort
	translated     bool
}

// appendEnds appends source.* and destination.*, the same again as client.* and server.*, and related.ip.
func appendEnds(b []byte, r *event.Record) []byte {
	src := end{addr: r.Src(), port: r.SrcPort(), bytes: r.ClientBytes(), packets: r.ClientPackets()}
	dst := end{addr: r.Dst(), port: r.DstPort(), bytes: r.ServerBytes(), packets: r.ServerPackets()}
	if !src.addr.IsValid() {
		return b
	}
	if session(r) {
		src.nat, src.translated = r.NATSrc()
		dst.nat, dst.translated = r.NATDst()
	}
	b = append(b, `"source":`...)
	source := len(b)
	b = src.append(append(b, `{"ip":"`...), r)
	sourceEnd := len(b)
	b = append(b, `"destination":`...)
	destination := len(b)
	b = dst.append(append(b, `{"ip":"`...), r)
	destinationEnd := len(b)
	b = append(b, `"client":`...)
	b = append(b, b[source:sourceEnd]...)
	b = append(b, `"server":`...)
	b = append(b, b[destination:destinationEnd]...)
	return appendRelated(b, &src, &dst)
}

// appendRelated appends related.ip: every address of the record, each once.
func appendRelated(b []byte, src, dst *end) []byte {
	all := [4]netip.Addr{src.addr, dst.addr, src.nat.Addr(), dst.nat.Addr()}
	b = append(b, `"related":{"ip":[`...)
	for i, a := range all {
		known := !a.IsValid()
		for _, before := range all[:i] {
			known = known || a == before
		}
		if !known {
			b = append(b, '"')
			b = a.AppendTo(b)
			b = append(b, `",`...)
		}
	}
	b[len(b)-1] = ']'
	return append(b, `},`...)
}

func (e *end) append(b []byte, r *event.Record) []byte {
	b = e.addr.AppendTo(b)
	b = append(b, `",`...)
	if hasPorts(r) {
		b = appendNumber(b, `"port":`, uint64(e.port))
	}
	if counted(r) {
		b = appendNumber(b, `"bytes":`, e.bytes)
		b = appendNumber(b, `"packets":`, e.packets)
	}
	if e.translated {
		b = append(b, `"nat":{"ip":"`...)
		b = e.nat.Addr().AppendTo(b)
		b = append(b, `",`...)
		b = appendNumber(b, `"port":`, uint64(e.nat.Port()))
		b = endObject(b)
	}
	return endObject(b)
}

// counted reports whether it is known what a session has carried: each has a packet at least.
func counted(r *event.Record) bool {
	return r.Kind() == event.SessionClose && r.ClientPackets()|r.ServerPackets() != 0
}

func session(r *event.Record) bool {
	return r.Kind() == event.SessionOpen || r.Kind() == event.SessionClose
}

// hasPorts reports whether the record's port fields are to be printed. Those of an ICMP echo hold identifier and sequence
// number, as in syslog messages.
func hasPorts(r *event.Record) bool {
	switch r.Proto() {
	case protoTCP, protoUDP, protoSCTP:
		return true
	case protoICMP, protoICMPv6:
		return session(r) || r.Kind() == event.PolicyDeny
	default:
		return false
	}
}

func appendNetwork(b []byte, r *event.Record) []byte {
	b = append(b, `"network":{`...)
	b = appendNameMember(b, `"transport":"`, protocols[r.Proto()].iana)
	b = append(b, `"iana_number":"`...) // a keyword in the schema
	b = appendUint(b, uint64(r.Proto()))
	b = append(b, `",`...)
	switch r.Family() {
	case event.FamilyIPv4:
		b = append(b, `"type":"ipv4",`...)
	case event.FamilyIPv6:
		b = append(b, `"type":"ipv6",`...)
	}
	if counted(r) {
		b = appendNumber(b, `"bytes":`, saturatingAdd(r.ClientBytes(), r.ServerBytes()))
		b = appendNumber(b, `"packets":`, saturatingAdd(r.ClientPackets(), r.ServerPackets()))
	}
	return endObject(b)
}

func saturatingAdd(x, y uint64) uint64 {
	if sum := x + y; sum >= x {
		return sum
	}
	return 1<<64 - 1
}
