package packet

// Cause says why a packet is refused. It is a counter index, not an error: the packet path builds no error values.
type Cause uint8

const (
	OK             Cause = iota
	NotIP                // no IP packet (ARP, LLDP, ...): not an error
	LinkShort            // the header of the link layer, a VLAN tag or an MPLS label is cut off
	VLANDepth            // more than eight VLAN tags
	MPLSDepth            // more than sixteen MPLS labels
	IPShort              // the IP header is not all there
	IPVersion            // version field and Ethernet type disagree
	IPHeaderLen          // IPv4 header length below 20 bytes
	IPTotalLen           // the IPv4 packet claims to be shorter than its header
	FragmentBounds       // a fragment that is not the last has a length that is no multiple of 8 (RFC 791, RFC 8200 section 4.5)
	ExtensionLen         // an IPv6 extension header runs off the end
	ExtensionChain       // more than eight IPv6 extension headers
	TCPShort             // the packet ends inside the TCP header, or its data offset is below 5 or beyond the segment
	UDPShort             // the packet ends inside the UDP header, or its length is below 8 or beyond the packet
	SCTPShort            // the packet ends inside the SCTP common header
	ICMPShort            // the packet ends inside the ICMP header
	Truncated            // a snap length or a mirror cut the headers; the packet itself may be fine

	NumCauses
)

var causeNames = [NumCauses]string{
	OK: "ok", NotIP: "not_ip", LinkShort: "link_short", VLANDepth: "vlan_depth", MPLSDepth: "mpls_depth", IPShort: "ip_short",
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
