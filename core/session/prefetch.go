package session

import "unsafe"

// largeShard is the entry of a shard with whose first session the table counts as large: some thousands of sessions, which
// take about as much memory as the second-level cache of a processor has.
const largeShard = 64

// Prefetch asks the processor for what Lookup will read for the keys. Of a large table that is not in any cache, and waiting
// for all of it at once takes hardly longer than waiting for one. It takes no lock: what other workers change meanwhile is
// fetched when Lookup reads it. It does nothing as long as there are few sessions.
func (t *Table) Prefetch(keys []Key) {
	if !t.large.Load() {
		return
	}
	for i := range keys {
		k := &keys[i]
		prefetch(unsafe.Pointer(t.shard(k.hash).bucket(k.hash)))
	}
	for i := range keys {
		k := &keys[i]
		s := t.shard(k.hash)
		b, tag := s.bucket(k.hash), s.tag(k.hash)
		for j := range b.slots {
			link := b.slots[j].Load()
			if link == 0 {
				break
			}
			if at := link ^ tag; at <= s.indexMask {
				prefetchPair(unsafe.Pointer(&s.entries[at]))
				k.hint = at
				break
			}
		}
	}
}
