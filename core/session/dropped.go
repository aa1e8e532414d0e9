package session

import (
	"sync/atomic"
	"unsafe"

	"github.com/rtflow/pipelined/internal/prefetch"
)

// droppedFlows is how many flows of which the first packet was dropped the table remembers, the latest; a power of two.
const droppedFlows = 1 << 14

// dropped is one such flow: half of its hash, and in the lower half the wheel slot of its last packet, and 1; 0 = none. One
// word holds it, so that no worker waits for another.
type dropped struct{ atomic.Uint64 }

func droppedFlow(hash uint64, now int64) uint64 { return hash&^(1<<32-1) | uint64(uint32(Slot(now))+1) }

func (t *Table) droppedAt(k *Key) *dropped { return &t.dropped[k.hash%droppedFlows] }

// PrefetchDropped has fetched what FlowDropped and Create will read for a key of the flows of which the first packet was dropped.
func (t *Table) PrefetchDropped(k *Key) { prefetch.Line(unsafe.Pointer(t.droppedAt(k))) }

// FlowDropped notes that the first packet of a flow was dropped or rejected.
func (t *Table) FlowDropped(k *Key, now int64) {
	d := t.droppedAt(k)
	if flow := droppedFlow(k.hash, now); d.Load() != flow { // a load costs less than a store to memory that others read
		d.Store(flow)
	}
}

// IsDropped reports whether the packet, which does not begin its flow, belongs to one of which the first packet was dropped
// at most a minute before this packet or before the last that IsDropped was asked about, by whichever worker. It does not
// tell directions and domains apart: what answers may come in another domain.
func (t *Table) IsDropped(k *Key, now int64) bool {
	d := t.droppedAt(k)
	was, flow := d.Load(), droppedFlow(k.hash, now)
	ago := int64(int32(uint32(flow) - uint32(was))) // negative by the clock of a worker that is behind
	if was == 0 || was>>32 != flow>>32 || max(ago, -ago) > droppedLife>>slotShift {
		return false
	}
	if ago > 0 {
		d.CompareAndSwap(was, flow)
	}
	return true
}

// forgetDropped forgets that the first packet of a flow was dropped: another was let pass.
func (t *Table) forgetDropped(k *Key) {
	d := t.droppedAt(k)
	if was := d.Load(); was != 0 && was>>32 == k.hash>>32 {
		d.CompareAndSwap(was, 0)
	}
}
