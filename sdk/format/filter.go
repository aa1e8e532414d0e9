package format

import (
	"strings"

	"github.com/rtflow/pipelined/sdk/event"
)

// appendFilter appends a firewall-filter log from the interface on. Junos has only a plain text form of it: IFNAME ACT PROTO SRC DST SPORT DPORT
// (N packets), which its readers split at single blanks. N is 1: packets are not aggregated.
func appendFilter(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendWord(b, n.Interface(r.Interface()))
	b = append(b, ' ', filterAction(r.Action()), ' ')
	b = appendProtocol(b, r.Proto())
	b = append(b, ' ')
	b = appendAddr(b, r.Src())
	b = append(b, ' ')
	b = appendAddr(b, r.Dst())
	b = append(b, ' ')
	src, dst := filterPorts(r)
	b = appendUint(b, uint64(src))
	b = append(b, ' ')
	b = appendUint(b, uint64(dst))
	return append(b, " (1 packets)"...)
}

// appendProtocol appends Junos' name of a protocol, or its number if it has none.
func appendProtocol(b []byte, number uint8) []byte {
	if name := protocols[number].junos; name != "" {
		return append(b, name...)
	}
	return appendUint(b, uint64(number))
}

// appendStructuredFilter appends a firewall-filter log as structured data. Junos has no such message.
func (e *syslogEncoder) appendStructuredFilter(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendHeader(b, &e.filter, r.Time())
	b = append(b, ` interface-name="`...)
	b = appendValue(b, n.Interface(r.Interface()))
	b = append(b, `" action="`...)
	b = append(b, strings.TrimPrefix(filterVerb(r.Action()), "filter_")...)
	b = append(b, `" protocol-name="`...)
	b = appendProtocol(b, r.Proto())
	b = append(b, `" source-address="`...)
	b = appendAddr(b, r.Src())
	b = append(b, `" destination-address="`...)
	b = appendAddr(b, r.Dst())
	src, dst := filterPorts(r)
	b = append(b, `" source-port="`...)
	b = appendUint(b, uint64(src))
	b = append(b, `" destination-port="`...)
	b = appendUint(b, uint64(dst))
	return append(b, `" packet-count="1"]`...)
}

func filterAction(a event.Action) byte {
	switch a {
	case event.ActionPermit:
		return 'A'
	case event.ActionReject:
		return 'R'
	default:
		return 'D'
	}
}

// filterPorts returns the ports of TCP, UDP and SCTP, ICMP type and code, and zeros for the rest.
func filterPorts(r *event.Record) (src, dst uint16) {
	switch r.Proto() {
	case protoTCP, protoUDP, protoSCTP:
		return r.SrcPort(), r.DstPort()
	case protoICMP, protoICMPv6:
		return uint16(r.ICMPType()), uint16(r.ICMPCode())
	default:
		return 0, 0
	}
}
