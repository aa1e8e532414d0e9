package packet

// Cause says why a frame could not be decoded. It is a counter index, not an error: the packet path builds no error
// values.
type Cause uint8

const (
	OK             Cause = iota
	NotIP                // an Ethernet type that is not ours (ARP, LLDP, ...): not an error, and not looked at
	EtherShort           // less than an Ethernet header, or a VLAN tag cut off
	VLANDepth            // more than two VLAN tags
	IPShort              // the IP header is not all there
	IPVersion            // version field and Ethernet type disagree
	IPHeaderLen          // IPv4 header length below 20 bytes, or beyond the packet
	IPTotalLen           // the packet claims more bytes than the frame had on the wire, or less than its header
	FragmentBounds       // a fragment that is not the last has a length that is no multiple of 8 (RFC 791, RFC 8200 section 4.5)
	ExtensionLen         // an IPv6 extension header runs off the end
	ExtensionChain       // more than eight IPv6 extension headers
	TCPShort             // TCP header cut off, or its data offset is below 5 or beyond the segment
	UDPShort             // UDP header cut off, or its length is below 8 or beyond the packet
	SCTPShort            // SCTP common header cut off
	ICMPShort            // ICMP header cut off
	Truncated            // the capture's snap length cut the headers; the packet itself may be fine

	NumCauses
)

var causeNames = [NumCauses]string{
	OK: "ok", NotIP: "not_ip", EtherShort: "ether_short", VLANDepth: "vlan_depth", IPShort: "ip_short",
	IPVersion: "ip_version", IPHeaderLen: "ip_header_len", IPTotalLen: "ip_total_len",
	FragmentBounds: "fragment_bounds", ExtensionLen: "extension_len", ExtensionChain: "extension_chain",
	TCPShort: "tcp_short", UDPShort: "udp_short", SCTPShort: "sctp_short", ICMPShort: "icmp_short",
	Truncated: "snap_length",
}

// String returns the cause as it stands in metrics and the ledger.
func (c Cause) String() string {
	if c < NumCauses {
		return causeNames[c]
	}
	return "unknown"
}
