package session

// unkept is a flow that a full shard refused or gave up.
type unkept struct {
	tag  uint32 // of its hash, and in the lowest bit whether the client is the second end of the key
	slot uint32 // wheel slot of that, and 1; 0 = none
}

// notKept notes that the table had no room at now. Workers share the word: it is stored once in a wheel slot.
func (t *Table) notKept(now int64) {
	if at := t.fullAt.Load(); at == 0 || Slot(now) != Slot(at) {
		t.fullAt.Store(max(now, 1))
	}
}

// keepNot remembers a flow that there was no room for, or that was given up.
func (s *shard) keepNot(hash uint64, clientIsB bool, now int64) {
	s.unkept[hash&uint64(len(s.unkept)-1)] = unkept{unkeptTag(hash, clientIsB), uint32(Slot(now)) + 1}
}

func unkeptTag(hash uint64, clientIsB bool) uint32 {
	tag := uint32(hash>>26) &^ 1
	if clientIsB {
		tag |= 1
	}
	return tag
}

// Unkept reports whether the packet answers a flow that the table had no room for, or gave up, in the last minute. It
// remembers a quarter as many of them as it has sessions, the latest.
func (t *Table) Unkept(k *Key, now int64) bool {
	if at := t.fullAt.Load(); at == 0 || now-at > unkeptLife {
		return false
	}
	s := t.lockOf(k)
	defer t.unlock(s)
	u := s.unkept[k.hash&uint64(len(s.unkept)-1)]
	ago := int64(int32(uint32(Slot(now)) + 1 - u.slot)) // negative by the clock of a worker that is behind
	return u.slot != 0 && u.tag == unkeptTag(k.hash, k.from == 0) && max(ago, -ago) <= unkeptLife>>slotShift
}
