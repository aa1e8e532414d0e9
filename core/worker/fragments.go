package worker

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/flowhash"
)

// fragments remembers the ports of first fragments for a while, so that later fragments, which have no transport header,
// are counted into their session. It is a direct-mapped cache of fixed size: a flood of fragments makes it forget, and
// the fragments concerned belong to no session: see [Worker.unclaimed].
type fragments struct {
	key   flowhash.Key
	slots [fragmentSlots]fragmentSlot
}

type fragmentSlot struct {
	hash             uint64 // of addresses, fragment id and, of IPv4, protocol
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

func newFragments(seed uint64) *fragments { return &fragments{key: flowhash.New(seed)} }

// resolve remembers the ports of a first fragment, or sets those of a later one. It reports false for a later fragment
// whose first is not known.
func (f *fragments) resolve(p *hook.Packet) bool {
	word := binary.LittleEndian.Uint64
	what := uint64(p.FragID)<<16 | uint64(p.Family)
	if p.Family == packet.IPv4 { // RFC 8200 section 4.5 has no protocol among what tells IPv6 datagrams apart
		what |= uint64(p.Proto) << 8
	}
	hash := f.key.Sum(word(p.Src[:8]), word(p.Src[8:]), word(p.Dst[:8]), word(p.Dst[8:]), what)
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
