package session

import (
	"unsafe"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/prefetch"
)

// Prefetch asks the processor for what Lookup will read for the keys. Of a large table that is in no cache, and of a small one
// it is not in the nearest: what a source reads its frames from goes through that. Waiting for all of it at once takes hardly
// longer than waiting for one, while each Lookup would wait by itself, because the lock is a barrier to what follows. It takes
// no lock: what other workers change meanwhile is fetched when Lookup reads it.
func (t *Table) Prefetch(keys []Key) {
	var buckets [packet.BatchSize]*bucket
	for len(keys) > len(buckets) {
		t.Prefetch(keys[:len(buckets)])
		keys = keys[len(buckets):]
	}
	for i := range keys {
		k := &keys[i]
		buckets[i] = t.shard(k.hash).bucket(k.hash)
		prefetch.Line(unsafe.Pointer(buckets[i]))
	}
	for i := range keys {
		k, b := &keys[i], buckets[i]
		s := t.shard(k.hash)
		tag := s.tag(k.hash)
		for j := range b.slots {
			link := b.slots[j].Load()
			if link == 0 {
				break
			}
			if at := link ^ tag; at <= s.indexMask {
				prefetch.Pair(unsafe.Pointer(&s.entries[at]))
				k.hint = at
				break
			}
		}
	}
}
