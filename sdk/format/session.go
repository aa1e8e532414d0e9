package format

import (
	"net/netip"

	"github.com/rtflow/pipelined/sdk/event"
)

func (e *syslogEncoder) appendCreate(b []byte, r *event.Record, t *phrases) []byte {
	b = appendHeader(b, &e.create, r.Time())
	b = e.appendFlow(b, r, t)
	return t.append(b, keyOf(createEnd, uint64(r.Interface())), r)
}

func (e *syslogEncoder) appendClose(b []byte, r *event.Record, t *phrases) []byte {
	why := r.CloseReason()
	if why >= numCloseReasons {
		why = event.CloseNone
	}
	b = appendHeader(b, &e.close[why], r.Time())
	b = e.appendFlow(b, r, t)
	b = appendLong(b, `" packets-from-client="`)
	b = appendUint(b, r.ClientPackets())
	b = appendLong(b, `" bytes-from-client="`)
	b = appendUint(b, r.ClientBytes())
	b = appendLong(b, `" packets-from-server="`)
	b = appendUint(b, r.ServerPackets())
	b = appendLong(b, `" bytes-from-server="`)
	b = appendUint(b, r.ServerBytes())
	b = append(b, `" elapsed-time="`...)
	b = appendUint(b, elapsed(r))
	return t.append(b, keyOf(closeEnd, uint64(r.Interface())), r)
}

// elapsed returns the seconds a session lasted. Readers parse a signed 32-bit integer.
func elapsed(r *event.Record) uint64 { return min(uint64(r.Elapsed()), 1<<31-1) }

// firstSource is the name of the parameter that the values of a flow begin with.
const firstSource = ` source-address="`

// appendFlow appends what CREATE and CLOSE share, from the value of the source address up to the session id, without the quote
// behind it.
func (e *syslogEncoder) appendFlow(b []byte, r *event.Record, t *phrases) []byte {
	srcPort, dstPort := decimalOf(uint32(r.SrcPort())), decimalOf(uint32(r.DstPort()))
	src := len(b)
	b = appendSrc(b, r)
	srcEnd := len(b)
	b = append(b, `" source-port="`...)
	b = srcPort.append(b)
	b = appendLong(b, `" destination-address="`)
	dst := len(b)
	b = appendDst(b, r)
	dstEnd := len(b)
	b = appendLong(b, `" destination-port="`)
	b = dstPort.append(b)
	b = t.append(b, keyOf(createService, uint64(r.Application())), r)
	if r.Translated() {
		b = appendTranslation(b, r)
	} else { // the originals are repeated
		b = appendAgain(b, src, srcEnd)
		b = appendLong(b, natSourcePort)
		b = srcPort.append(b)
		b = appendLong(b, natDestination)
		b = appendAgain(b, dst, dstEnd)
		b = appendLong(b, natDestinationPort)
		b = dstPort.append(b)
	}
	b = t.append(b, pathKey(flowPath, r, uint64(r.Proto())), r)
	return appendUint(b, r.SessionID()&e.sessionMask)
}

// What stands before the values of a translation, but for the first.
const (
	natSourcePort      = `" nat-source-port="`
	natDestination     = `" nat-destination-address="`
	natDestinationPort = `" nat-destination-port="`
)

// appendTranslation appends both ends as they are translated: an end that is not, as it is.
func appendTranslation(b []byte, r *event.Record) []byte {
	src, ok := r.NATSrc()
	if !ok {
		src = netip.AddrPortFrom(r.Src(), r.SrcPort())
	}
	dst, ok := r.NATDst()
	if !ok {
		dst = netip.AddrPortFrom(r.Dst(), r.DstPort())
	}
	b = appendAddr(b, src.Addr())
	b = append(b, natSourcePort...)
	b = appendUint(b, uint64(src.Port()))
	b = append(b, natDestination...)
	b = appendAddr(b, dst.Addr())
	b = append(b, natDestinationPort...)
	return appendUint(b, uint64(dst.Port()))
}

func (e *syslogEncoder) appendDeny(b []byte, r *event.Record, t *phrases) []byte {
	b = appendHeader(b, &e.deny, r.Time())
	b = appendSrc(b, r)
	b = append(b, `" source-port="`...)
	b = decimalOf(uint32(r.SrcPort())).append(b)
	b = appendLong(b, `" destination-address="`)
	b = appendDst(b, r)
	b = appendLong(b, `" destination-port="`)
	b = decimalOf(uint32(r.DstPort())).append(b)
	b = t.append(b, keyOf(denyService, uint64(r.Application())|uint64(r.Proto())<<16|uint64(icmpType(r))<<24), r)
	b = t.append(b, pathKey(denyPath, r, uint64(r.Interface())|uint64(r.Action())<<32), r)
	b = appendUint(b, r.SessionID()&e.sessionMask)
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
