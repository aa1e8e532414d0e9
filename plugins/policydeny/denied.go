package policydeny

import (
	"hash/maphash"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// deniedFlows remembers on which flows a worker has decided lately and did not permit them, so that the packets of a
// flood cost a lookup each, whatever the policies are. A newer flow takes the place of an older one with the same hash. It
// lives and dies with the engine: what is remembered was decided by the same policies. Used by one worker.
type deniedFlows struct {
	seed  maphash.Seed
	flows []deniedFlow
	key   flowKey // that find was last asked for
	slot  uint64
}

// deniedFlow is one flow and the policy that denied it. No flow has family 0.
type deniedFlow struct {
	flowKey
	number uint32
}

// flowKey is everything of a packet that policies look at.
type flowKey struct {
	packet.Tuple
	inZone, outZone    uint16
	icmpType, icmpCode uint8
	hasHead            bool
}

// rememberedFlows is how many flows a worker remembers, a power of two: 4,096 take 256 KiB, which a core's own cache
// holds.
const rememberedFlows = 4096

func newDeniedFlows() deniedFlows {
	return deniedFlows{seed: maphash.MakeSeed(), flows: make([]deniedFlow, rememberedFlows)}
}

// find returns the number of the policy that denied the packet's flow, if it is remembered.
func (d *deniedFlows) find(p *hook.Packet) (number uint32, known bool) {
	d.key = flowKey{p.Tuple, p.InZone, p.OutZone, p.ICMPType, p.ICMPCode, p.HasHead}
	d.slot = maphash.Comparable(d.seed, d.key) % rememberedFlows
	f := &d.flows[d.slot]
	return f.number, f.flowKey == d.key && f.Family != 0
}

// remember keeps the policy that denied the packet that find was last asked for.
func (d *deniedFlows) remember(number uint32) { d.flows[d.slot] = deniedFlow{d.key, number} }
