package policydeny

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/internal/flowhash"
)

// deniedFlows remembers on which flows a worker has decided lately and did not permit them, so that the packets of a
// flood cost a lookup each, whatever the policies are. A newer flow takes the place of an older one with the same hash. The
// policies never change during its life: what is remembered was decided by the same ones. Used by one worker.
type deniedFlows struct {
	secret flowhash.Key
	flows  []deniedFlow
	key    flowKey // that find was last asked for
	slot   uint64
}

// deniedFlow is one flow and the policy that denied it: 64 bytes, a cache line.
type deniedFlow struct {
	flowKey
	number uint32
	_      [12]byte
}

// flowKey is everything of a packet that policies look at. The zero key is that of no packet.
type flowKey struct {
	srcHi, srcLo, dstHi, dstLo uint64
	hashed                     uint64 // ports, ingress zone, protocol, ICMP type
	rest                       uint32 // egress zone, ICMP code, family, whether there is a transport header
}

// set makes k the key of a packet.
func (k *flowKey) set(p *hook.Packet) {
	k.srcHi, k.srcLo = binary.NativeEndian.Uint64(p.Src[:8]), binary.NativeEndian.Uint64(p.Src[8:])
	k.dstHi, k.dstLo = binary.NativeEndian.Uint64(p.Dst[:8]), binary.NativeEndian.Uint64(p.Dst[8:])
	k.hashed = uint64(p.SrcPort)<<48 | uint64(p.DstPort)<<32 | uint64(p.InZone)<<16 | uint64(p.Proto)<<8 | uint64(p.ICMPType)
	k.rest = uint32(p.OutZone)<<16 | uint32(p.ICMPCode)<<8 | uint32(p.Family)<<1
	if p.HasHead {
		k.rest |= 1
	}
}

// equal compares word by word: the compiler calls a function for ==.
func (k *flowKey) equal(o *flowKey) bool {
	return k.srcHi == o.srcHi && k.srcLo == o.srcLo && k.dstHi == o.dstHi && k.dstLo == o.dstLo && k.hashed == o.hashed &&
		k.rest == o.rest
}

// hash leaves out what hardly ever tells two flows apart.
func (k *flowKey) hash(secret *flowhash.Key) uint64 {
	return secret.Sum(k.srcHi, k.srcLo, k.dstHi, k.dstLo, k.hashed)
}

// rememberedFlows is how many flows a worker remembers, a power of two: 4,096 take 256 KiB, which a core's own cache
// holds.
const rememberedFlows = 4096

func newDeniedFlows() deniedFlows {
	return deniedFlows{secret: flowhash.Random(), flows: make([]deniedFlow, rememberedFlows)}
}

// find returns the number of the policy that denied the packet's flow, if it is remembered.
func (d *deniedFlows) find(p *hook.Packet) (number uint32, known bool) {
	d.key.set(p)
	d.slot = d.key.hash(&d.secret) % rememberedFlows
	f := &d.flows[d.slot]
	return f.number, f.equal(&d.key)
}

// remember keeps the policy that denied the packet that find was last asked for.
func (d *deniedFlows) remember(number uint32) {
	f := &d.flows[d.slot]
	f.flowKey, f.number = d.key, number
}
