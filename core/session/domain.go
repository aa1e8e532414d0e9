package session

import "github.com/rtflow/pipelined/core/packet"

// Separate is what tells flows apart that have the same addresses and ports.
type Separate uint8

const (
	ByVLAN Separate = iota // VLAN tags
	ByZone                 // ingress zones
	ByNone                 // nothing
)

// Domain returns the [Params.Domain] of a packet.
func (s Separate) Domain(h *packet.Headers, inZone uint16) uint32 {
	switch s {
	case ByVLAN:
		return 1 + uint32(h.VLAN) + uint32(h.InnerVLAN)<<12
	case ByZone:
		return 1 + uint32(inZone)
	default:
		return 1
	}
}
