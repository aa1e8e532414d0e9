package session

import (
	"encoding/binary"
	"math/bits"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/flowhash"
)

// Key names the flow of a packet, the direction of the packet in it, and the domain that it came in. [Table.SetKey] sets
// it, once for all that is asked of the table about the packet.
type Key struct {
	flowKey
	hash   uint64
	domain uint32
	from   uint32 // the end of the flow that the packet comes from: 0 is a, 1 is b
	hint   uint32 // the entry that Prefetch has found, or 0, which is of no session: it may have become another session's since
}

// flowKey is what both directions have in common: its ends are put in order. It is five words without padding, compared and
// hashed as such.
type flowKey struct {
	aHi, aLo, bHi, bLo uint64 // halves of the addresses of the ends
	rest               uint64 // ports of a and b, protocol, family
}

// SetKey makes k the key of a packet with those addresses and ports. The domain, which is not 0, tells flows apart that
// have the same addresses and ports, such as those of two VLANs: packets of one direction of a session come in one domain.
func (t *Table) SetKey(k *Key, tuple *packet.Tuple, domain uint32) {
	srcHi, srcLo := binary.LittleEndian.Uint64(tuple.Src[:8]), binary.LittleEndian.Uint64(tuple.Src[8:])
	dstHi, dstLo := binary.LittleEndian.Uint64(tuple.Dst[:8]), binary.LittleEndian.Uint64(tuple.Dst[8:])
	ports := uint32(tuple.SrcPort)<<16 | uint32(tuple.DstPort)
	isICMP := packet.IsICMP(tuple.Proto) // identifier and sequence number stand in the same places in both directions
	// Which end is a does not matter, and is as often one as the other: no branch depends on it.
	_, from := bits.Sub64(dstLo, srcLo, 0)
	_, from = bits.Sub64(dstHi, srcHi, from)
	if srcHi == dstHi && srcLo == dstLo && tuple.SrcPort > tuple.DstPort && !isICMP {
		from = 1
	}
	hi, lo := (srcHi^dstHi)&-from, (srcLo^dstLo)&-from
	k.aHi, k.bHi, k.aLo, k.bLo = srcHi^hi, dstHi^hi, srcLo^lo, dstLo^lo
	if !isICMP {
		ports = bits.RotateLeft32(ports, int(from)<<4)
	}
	k.rest = uint64(ports)<<32 | uint64(tuple.Proto)<<8 | uint64(tuple.Family)
	k.from = uint32(from)
	k.domain, k.hint = domain, 0
	k.hash = k.flowKey.hash(&t.secret)
}

// Domain returns the domain of the key.
func (k *Key) Domain() uint32 { return k.domain }

// Found reports whether [Table.Prefetch] has found a session that may be the key's. There is none otherwise, as far as can be told
// without the lock: in its bucket's list there may be.
func (k *Key) Found() bool { return k.hint != 0 }

// Hash returns a keyed hash of the flow, the same for both directions and in all domains.
func (k *Key) Hash() uint64 { return k.hash }

// HashWith returns a keyed hash of the flow, the direction, and two words, of which b has 63 bits.
func (k *Key) HashWith(a, b uint64) uint64 { return flowhash.Extend(k.hash, a, b<<1|uint64(k.from)) }

// Equal reports whether the keys name the same flow, direction and domain.
func (k *Key) Equal(o *Key) bool {
	return k.flowKey.equal(&o.flowKey) && k.domain == o.domain && k.from == o.from
}

func (f *flowKey) aPort() uint16         { return uint16(f.rest >> 48) }
func (f *flowKey) bPort() uint16         { return uint16(f.rest >> 32) }
func (f *flowKey) proto() uint8          { return uint8(f.rest >> 8) }
func (f *flowKey) family() packet.Family { return packet.Family(f.rest) }

// equal compares word by word: the compiler calls a function for ==.
func (f *flowKey) equal(o *flowKey) bool {
	return f.aLo == o.aLo && f.bLo == o.bLo && f.rest == o.rest && f.aHi == o.aHi && f.bHi == o.bHi
}

func (f *flowKey) hash(secret *flowhash.Key) uint64 {
	return secret.Sum(f.aHi, f.aLo, f.bHi, f.bLo, f.rest)
}
