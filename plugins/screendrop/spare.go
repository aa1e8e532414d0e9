package screendrop

import (
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

var _ hook.Sparing = (*screens)(nil)

// Spares implements [hook.Sparing]. The screens for TCP are about segments that begin or end a connection, and that for floods of UDP counts
// every datagram.
func (s *screens) Spares(p *hook.Packet) bool {
	return !s.bound(p) || p.Proto == packet.ProtoTCP || p.Proto == packet.ProtoUDP && s.udpFlood == nil
}
