package format

import "github.com/rtflow/pipelined/sdk/event"

func (e *syslogEncoder) appendCreate(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendHeader(b, &e.create, r.Time())
	b = e.appendFlow(b, r, n)
	b = append(b, `"`+noUser+` packet-incoming-interface="`...)
	b = appendValue(b, n.Interface(r.Interface()))
	b = append(b, '"')
	return append(b, e.createTail...)
}

func (e *syslogEncoder) appendClose(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendHeader(b, &e.close, r.Time())
	b = append(b, ` reason="`...)
	b = append(b, e.closeReason(r.CloseReason())...)
	b = append(b, '"')
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
	// Unlike in CREATE, user and interface stand behind the application.
	b = append(b, `"`+noAppID+noUser+` packet-incoming-interface="`...)
	b = appendValue(b, n.Interface(r.Interface()))
	b = append(b, '"')
	return append(b, e.closeTail...)
}

// elapsed returns the seconds a session lasted. Readers parse a signed 32-bit integer.
func elapsed(r *event.Record) uint64 { return min(uint64(r.Elapsed()), 1<<31-1) }

// appendFlow appends what CREATE and CLOSE share, from the source address up to the session id, without the quote behind it.
func (e *syslogEncoder) appendFlow(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, ` source-address="`...)
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
	b = append(b, `" connection-tag="0" service-name="`...)
	b = appendService(b, r, n)

	// Without a translation the originals are repeated: from the line itself, which is cheaper than from the record.
	b = append(b, `" nat-source-address="`...)
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
	b = append(b, `" policy-name="`...)
	b = appendValue(b, n.Policy(r.Policy()))
	b = append(b, `" source-zone-name="`...)
	b = appendValue(b, n.Zone(r.InZone()))
	b = append(b, `" destination-zone-name="`...)
	b = appendValue(b, n.Zone(r.OutZone()))
	b = append(b, '"')
	b = append(b, e.sessionID...)
	return appendUint(b, r.SessionID()&e.sessionMask)
}

func (e *syslogEncoder) appendDeny(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendHeader(b, &e.deny, r.Time())
	b = append(b, ` source-address="`...)
	b = appendAddr(b, r.Src())
	b = append(b, `" source-port="`...)
	b = appendUint(b, uint64(r.SrcPort()))
	b = append(b, `" destination-address="`...)
	b = appendAddr(b, r.Dst())
	b = append(b, `" destination-port="`...)
	b = appendUint(b, uint64(r.DstPort()))
	b = append(b, `" connection-tag="0" service-name="`...)
	b = appendService(b, r, n)
	b = append(b, `" protocol-id="`...)
	b = appendUint(b, uint64(r.Proto()))
	b = append(b, `" icmp-type="`...)
	b = appendUint(b, uint64(icmpType(r)))
	b = append(b, `" policy-name="`...)
	b = appendValue(b, n.Policy(r.Policy()))
	b = append(b, `" source-zone-name="`...)
	b = appendValue(b, n.Zone(r.InZone()))
	b = append(b, `" destination-zone-name="`...)
	b = appendValue(b, n.Zone(r.OutZone()))
	b = append(b, `"`+noAppID+noUser+` packet-incoming-interface="`...)
	b = appendValue(b, n.Interface(r.Interface()))
	b = append(b, `" encrypted="No" reason="`...)
	b = append(b, denyReason(r.Action())...)
	b = append(b, '"')
	b = append(b, e.sessionID...)
	b = appendUint(b, r.SessionID()&e.sessionMask)
	b = append(b, '"')
	return append(b, e.denyTail...)
}

// noService is what Junos prints where no application has matched.
const noService = "None"

// appendService appends the matched application's name.
func appendService(b []byte, r *event.Record, n *event.Names) []byte {
	name := n.Application(r.Application())
	if name == "" {
		name = noService
	}
	return appendValue(b, name)
}

func isICMP(r *event.Record) bool { return r.Proto() == protoICMP || r.Proto() == protoICMPv6 }

// icmpType returns the ICMP type of a deny or filter record, 0 for other protocols.
func icmpType(r *event.Record) uint8 {
	if !isICMP(r) {
		return 0
	}
	return r.ICMPType()
}
