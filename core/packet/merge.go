package packet

// Merge makes the packet that was decoded from f count as those that it was merged from: see [Frame.SegmentSize]. Their
// headers are as long as its own. What is merged inside of a tunnel counts as one packet: the segments are not those of the
// outer header.
func (h *Headers) Merge(f *Frame) {
	header := h.transportHeader(f.Data)
	if f.SegmentSize == 0 || f.SegmentProto != h.Proto || header == 0 || h.DataLen <= header {
		return
	}
	data := h.DataLen - header
	more := (data - 1) / uint32(f.SegmentSize)
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
