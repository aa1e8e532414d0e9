package format

import "github.com/rtflow/pipelined/sdk/event"

func (e *syslogEncoder) appendCreate(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendHeader(b, &e.create, r.Time())
	b = e.appendFlow(b, r, n)
	return e.appendPhrase(b, phraseKey{part: createEnd, iface: r.Interface()}, n)
}

func (e *syslogEncoder) appendClose(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendHeader(b, &e.close, r.Time())
	b = append(b, e.closeReason(r.CloseReason())...)
	b = append(b, `"`+firstSource...)
	b = e.appendFlow(b, r, n)
	b = append(b, `" packets-from-client="`...)
	b = appendUint(b, r.ClientPackets())
	b = append(b, `" bytes-from-client="`...)
	b = appendUint(b, r.ClientBytes())
	b = append(b, `" packets-from-server="`...)
	b = appendUint(b, r.ServerPackets())
	b = append(b, `" bytes-from-server="`...)
	b = appendUint(b, r.ServerBytes())
	b = append(b, `" elapsed-time="`...)
	b = appendUint(b, elapsed(r))
	return e.appendPhrase(b, phraseKey{part: closeEnd, iface: r.Interface()}, n)
}

// elapsed returns the seconds a session lasted. Readers parse a signed 32-bit integer.
func elapsed(r *event.Record) uint64 { return min(uint64(r.Elapsed()), 1<<31-1) }

// firstSource is the name of the parameter that the values of a flow begin with.
const firstSource = ` source-address="`

// appendFlow appends what CREATE and CLOSE share, from the value of the source address up to the session id, without the quote
// behind it.
func (e *syslogEncoder) appendFlow(b []byte, r *event.Record, n *event.Names) []byte {
	srcAddr := len(b)
	b = appendAddr(b, r.Src())
	srcAddrEnd := len(b)
	b = append(b, `" source-port="`...)
	srcPort := len(b)
	b = appendUint(b, uint64(r.SrcPort()))
	srcPortEnd := len(b)
	b = append(b, `" destination-address="`...)
	dstAddr := len(b)
	b = appendAddr(b, r.Dst())
	dstAddrEnd := len(b)
	b = append(b, `" destination-port="`...)
	dstPort := len(b)
	b = appendUint(b, uint64(r.DstPort()))
	dstPortEnd := len(b)
	b = e.appendPhrase(b, phraseKey{part: createService, id: uint32(r.Application())}, n)

	// Without a translation the originals are repeated: from the line itself, which is cheaper than from the record.
	if src, ok := r.NATSrc(); ok {
		b = appendAddr(b, src.Addr())
		b = append(b, `" nat-source-port="`...)
		b = appendUint(b, uint64(src.Port()))
	} else {
		b = append(b, b[srcAddr:srcAddrEnd]...)
		b = append(b, `" nat-source-port="`...)
		b = append(b, b[srcPort:srcPortEnd]...)
	}
	b = append(b, `" nat-destination-address="`...)
	if dst, ok := r.NATDst(); ok {
		b = appendAddr(b, dst.Addr())
		b = append(b, `" nat-destination-port="`...)
		b = appendUint(b, uint64(dst.Port()))
	} else {
		b = append(b, b[dstAddr:dstAddrEnd]...)
		b = append(b, `" nat-destination-port="`...)
		b = append(b, b[dstPort:dstPortEnd]...)
	}
	b = append(b, `" nat-connection-tag="0" src-nat-rule-type="N/A" src-nat-rule-name="N/A" dst-nat-rule-type="N/A"`+
		` dst-nat-rule-name="N/A" protocol-id="`...)
	b = appendUint(b, uint64(r.Proto()))
	b = e.appendPhrase(b, phraseKey{part: flowPath, id: r.Policy(), in: r.InZone(), out: r.OutZone()}, n)
	return appendUint(b, r.SessionID()&e.sessionMask)
}

func (e *syslogEncoder) appendDeny(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendHeader(b, &e.deny, r.Time())
	b = appendAddr(b, r.Src())
	b = append(b, `" source-port="`...)
	b = appendUint(b, uint64(r.SrcPort()))
	b = append(b, `" destination-address="`...)
	b = appendAddr(b, r.Dst())
	b = append(b, `" destination-port="`...)
	b = appendUint(b, uint64(r.DstPort()))
	b = e.appendPhrase(b, phraseKey{part: denyService, id: uint32(r.Application())}, n)
	b = appendUint(b, uint64(r.Proto()))
	b = append(b, `" icmp-type="`...)
	b = appendUint(b, uint64(icmpType(r)))
	b = e.appendPhrase(b, phraseKey{
		part: denyPath, id: r.Policy(), in: r.InZone(), out: r.OutZone(), iface: r.Interface(), action: r.Action(),
	}, n)
	b = appendUint(b, r.SessionID()&e.sessionMask)
	b = append(b, '"')
	return append(b, e.denyTail...)
}

// noService is what Junos prints where no application has matched.
const noService = "None"

// serviceName returns the matched application's name.
func serviceName(n *event.Names, id uint16) string {
	if name := n.Application(id); name != "" {
		return name
	}
	return noService
}

func isICMP(r *event.Record) bool { return r.Proto() == protoICMP || r.Proto() == protoICMPv6 }

// icmpType returns the ICMP type of a deny or filter record, 0 for other protocols.
func icmpType(r *event.Record) uint8 {
	if !isICMP(r) {
		return 0
	}
	return r.ICMPType()
}
