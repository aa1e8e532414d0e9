package screendrop

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/flowhash"
)

// captureSeed is the seed of every capture's hashes.
const captureSeed = 0x243f6a8885a308d3

// newHash returns the key of the hashes that give the tables their positions and tags. It is secret on a live source, so
// that nobody can aim packets at the table set of a chosen address. Of a capture it is fixed, so that the same capture gives
// the same events.
func newHash(live bool) flowhash.Key {
	if live {
		return flowhash.Random()
	}
	return flowhash.New(captureSeed)
}

// hashOf hashes an address of a family with the ingress zone and a port (0 where the key of a table has none).
func (s *screens) hashOf(a *packet.Addr, f packet.Family, zone, port uint16) uint64 {
	return s.hash.Sum3(binary.LittleEndian.Uint64(a[:8]), binary.LittleEndian.Uint64(a[8:]),
		uint64(f)<<32|uint64(zone)<<16|uint64(port))
}
