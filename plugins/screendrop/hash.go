package screendrop

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"

	"github.com/rtflow/pipelined/core/packet"
)

// hasher turns keys into table positions and tags. Its seeds are secret on a live source, so that nobody can aim packets
// at the table set of a chosen key; they are fixed for a capture, so that it gives the same events every time.
type hasher [4]uint64

// captureSeeds are fixed digits of the fraction of pi.
var captureSeeds = hasher{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}

func newHasher(live bool) hasher {
	if !live {
		return captureSeeds
	}
	var b [32]byte
	rand.Read(b[:]) // never fails, by contract
	var k hasher
	for i := range k {
		k[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return k
}

// key hashes an address of a family with the ingress zone and a port (0 where the key has none).
func (k *hasher) key(a *packet.Addr, f packet.Family, zone, port uint16) uint64 {
	lo := binary.LittleEndian.Uint64(a[:8])
	hi := binary.LittleEndian.Uint64(a[8:])
	rest := uint64(f)<<32 | uint64(zone)<<16 | uint64(port)
	return fold(fold(lo^k[0], hi^k[1])^k[2], rest^k[3])
}

// fold mixes two words into one: both halves of their product.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
