package format

import "github.com/rtflow/pipelined/sdk/event"

// appendFilter appends a firewall-filter log. Junos has only a plain text form of it: IFNAME ACT PROTO SRC DST SPORT DPORT
// (N packets), which its readers split at single blanks. N is 1: packets are not aggregated.
func (e *syslogEncoder) appendFilter(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendHeader(b, priFilter, r.Time(), e.filter)
	b = appendWord(b, n.Interface(r.Interface()))
	b = append(b, ' ', filterAction(r.Action()), ' ')
	if name := protocolName(r.Proto()).junos; name != "" {
		b = append(b, name...)
	} else {
		b = appendUint(b, uint64(r.Proto()))
	}
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
