package worker

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// fragments remembers the ports of first fragments for a while, so that later fragments, which have no transport header,
// are counted into their session. It is a direct-mapped cache of fixed size: a flood of fragments makes it forget, and
// the fragments concerned pass without a session.
type fragments struct {
	seed  uint64
	slots [fragmentSlots]fragmentSlot
}

type fragmentSlot struct {
	hash             uint64 // of seed, addresses, fragment id and, of IPv4, protocol
	time             int64
	srcPort, dstPort uint16
	proto            uint8
	used             bool
}

const (
	fragmentSlots = 4096
	// fragmentLife is the reassembly timeout of Linux, after which an id may be used again.
	fragmentLife = int64(30e9)
)

func newFragments(seed uint64) *fragments { return &fragments{seed: seed} }

// resolve remembers the ports of a first fragment, or sets those of a later one. It reports false for a later fragment
// whose first is not known.
func (f *fragments) resolve(p *hook.Packet) bool {
	var key [46]byte
	// The seed stands first: behind bytes that a sender chooses it would not keep chosen collisions apart.
	binary.LittleEndian.PutUint64(key[:], f.seed)
	copy(key[8:24], p.Src[:])
	copy(key[24:40], p.Dst[:])
	binary.LittleEndian.PutUint32(key[40:], p.FragID)
	if p.Family == packet.IPv4 { // RFC 8200 section 4.5 has no protocol among what tells IPv6 datagrams apart
		key[44] = p.Proto
	}
	key[45] = uint8(p.Family)
	hash := xxhash.Sum64(key[:])
	s := &f.slots[hash%fragmentSlots]
	if p.FragOff == 0 {
		*s = fragmentSlot{hash: hash, time: p.Time, srcPort: p.SrcPort, dstPort: p.DstPort, proto: p.Proto, used: true}
		return true
	}
	if !s.used || s.hash != hash || p.Time-s.time > fragmentLife {
		return false
	}
	p.SrcPort, p.DstPort, p.Proto = s.srcPort, s.dstPort, s.proto // the first fragment's protocol counts
	return true
}
