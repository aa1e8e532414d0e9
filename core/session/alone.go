package session

import (
	"sync"
	"sync/atomic"
)

// possession is how the only worker of a table has all of it for a batch, without a lock for each packet.
//
// A locked instruction waits for all that is on its way to memory, and two for each packet are a tenth of its cost. As long as there is
// one worker it takes the whole table at the beginning of a batch: it is then the only one there, and locks no shard. Others wait for
// the end of the batch, and the worker never for more than the one call that is there already: who is to get a [sync.RWMutex] for itself
// comes before readers.
type possession struct {
	whole sync.RWMutex // held by the only worker for a batch, and read by others
	alone atomic.Bool  // there has been one worker at a time so far; does not become true again
	held  bool         // the only worker has the table. Written under whole; read by workers, of which there is then no other
}

// Enter begins a batch of a worker: until [Table.Leave] it may be that nobody else gets at the table. A worker that may wait for others
// meanwhile does not call it: its calls are safe without.
func (t *Table) Enter() {
	if !t.alone.Load() {
		return
	}
	t.whole.Lock()
	if t.alone.Load() {
		t.held = true
		return
	}
	t.whole.Unlock() // another worker is about to begin
}

// Leave ends what Enter has begun.
func (t *Table) Leave() {
	if t.held {
		t.held = false
		t.whole.Unlock()
	}
}

// share has every worker lock what it uses from here on. When it returns none has the table for itself.
func (t *Table) share() {
	if t.alone.Load() {
		t.whole.Lock()
		t.alone.Store(false)
		t.whole.Unlock()
	}
}

// lock locks a shard for a call of a worker.
func (t *Table) lock(s *shard) {
	if !t.held {
		s.mu.Lock()
	}
}

func (t *Table) unlock(s *shard) {
	if !t.held {
		s.mu.Unlock()
	}
}

// lockOutside locks a shard for a call of others than workers. It is held for a short time: the only worker of a table waits for it,
// whichever shard it is.
func (t *Table) lockOutside(s *shard) {
	t.whole.RLock()
	s.mu.Lock()
}

func (t *Table) unlockOutside(s *shard) {
	s.mu.Unlock()
	t.whole.RUnlock()
}
