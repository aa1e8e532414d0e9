package packet

// Merge makes the packet count as those that it was merged from, each with so many bytes of data but for the last one, and
// with headers as long as its own: [Frame.SegmentSize]. frame is what the packet was decoded from.
func (h *Headers) Merge(segment uint16, frame []byte) {
	header := h.transportHeader(frame)
	if segment == 0 || header == 0 || h.DataLen <= header {
		return
	}
	data := h.DataLen - header
	more := (data - 1) / uint32(segment)
	h.MorePackets, h.MoreBytes = uint16(more), more*(h.IPLen-data)
}

// transportHeader returns the length of the header of a TCP segment or UDP datagram, 0 if it was not read.
func (h *Headers) transportHeader(frame []byte) uint32 {
	switch {
	case !h.HasL4:
	case h.Proto == ProtoUDP:
		return udpHeader
	case h.Proto == ProtoTCP && len(frame) >= int(h.L4)+tcpHeader:
		return uint32(frame[h.L4+12]>>4) * 4
	}
	return 0
}
