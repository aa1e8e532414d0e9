package syslog

import "github.com/rtflow/pipelined/sdk/event"

// mark says that a record is over at a position of a connection.
type mark struct {
	end uint64
	seq event.Seq
}

// marks are the records that were framed and are not acknowledged, in order: a ring buffer that grows to its limit as needed.
type marks struct {
	ring       []mark // a power of two
	head, tail uint64 // of the oldest; of the next
}

func (m *marks) len() int { return int(m.tail - m.head) }

func (m *marks) push(end uint64, seq event.Seq) {
	if m.len() == len(m.ring) {
		m.grow()
	}
	m.ring[m.tail&uint64(len(m.ring)-1)] = mark{end, seq}
	m.tail++
}

func (m *marks) grow() {
	const first = 1024
	larger := make([]mark, max(first, 2*len(m.ring)))
	for i := m.head; i != m.tail; i++ {
		larger[i&uint64(len(larger)-1)] = m.ring[i&uint64(len(m.ring)-1)]
	}
	m.ring = larger
}

// release forgets the records that are over at or before that position, and returns the last of them, 0 if there is none.
func (m *marks) release(position uint64) (last event.Seq) {
	for m.head != m.tail {
		k := &m.ring[m.head&uint64(len(m.ring)-1)]
		if k.end > position {
			break
		}
		last = k.seq
		m.head++
	}
	return last
}

// at returns the record that ends at that position, 0 if none does.
func (m *marks) at(position uint64) event.Seq {
	for i := m.head; i != m.tail; i++ {
		if k := &m.ring[i&uint64(len(m.ring)-1)]; k.end == position {
			return k.seq
		}
	}
	return 0
}

func (m *marks) clear() { m.head, m.tail = 0, 0 }
