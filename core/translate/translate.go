// Package translate finds out how the host translates the sessions of packets, beside the packet path: workers note what has
// begun, and one goroutine asks somebody who knows, some time later and more than once, and puts the answers into the flow table.
//
// It knows no connection tracking and makes no records.
package translate

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/tally"
)

const (
	// perWorker is how many sessions of one worker may wait to be collected: more than begin within a period at 400,000 a
	// second.
	perWorker = 1 << 13
	// maxWaiting is how many sessions wait for a question, of each attempt.
	maxWaiting = 1 << 16
	// perAsk is how many questions are asked at a time.
	perAsk = 64
	// period is how often sessions are collected.
	period = 20 * time.Millisecond
)

// delays are how long after its first packet a session is asked for. A packet is read before the host has forwarded it, and a
// host that is slow to connect, or whose first packets are lost, knows its flow later.
var delays = [...]time.Duration{20 * time.Millisecond, 300 * time.Millisecond, 3 * time.Second}

// begun is a session that has begun.
type begun struct {
	key  session.Key
	id   uint64
	flow packet.Tuple
}

// Asker is one worker's way to ask. Its methods are called only by the worker's goroutine.
type Asker struct {
	ring       [perWorker]begun
	head, tail atomic.Uint64 // of what is not collected; the worker moves head
	refused    tally.Number
	lost       uint64
}

// Ask asks how the flow of a session is translated; k is the key of its first packet. The answer is [session.Session.NAT], some
// time later, or never.
func (a *Asker) Ask(k *session.Key, id uint64, flow *packet.Tuple) {
	head := a.head.Load()
	if head-a.tail.Load() == perWorker {
		a.lost++
		a.refused.Set(a.lost)
		return
	}
	a.ring[head%perWorker] = begun{key: *k, id: id, flow: *flow}
	a.head.Store(head + 1)
}

// waiting is a session and when it is asked for, on the clock of the translation.
type waiting struct {
	begun
	due time.Duration
}

// queue is a queue of fixed size.
type queue struct {
	ring        []waiting
	first, next uint64
}

func (q *queue) len() int { return int(q.next - q.first) }

// put adds a session unless the queue is full.
func (q *queue) put(w waiting) bool {
	if q.len() == maxWaiting {
		return false
	}
	if q.ring == nil {
		q.ring = make([]waiting, maxWaiting)
	}
	q.ring[q.next%maxWaiting] = w
	q.next++
	return true
}

// take returns the first session if it is due.
func (q *queue) take(now time.Duration) (w waiting, ok bool) {
	if q.len() == 0 || q.ring[q.first%maxWaiting].due > now {
		return waiting{}, false
	}
	q.first++
	return q.ring[(q.first-1)%maxWaiting], true
}

// Translation is the goroutine beside the workers.
type Translation struct {
	translator source.Translator
	sessions   *session.Table
	askers     atomic.Pointer[[]*Asker] // by worker
	queues     [len(delays)]queue       // by attempt, in the order in which they are due
	batch      [perAsk]waiting
	questions  [perAsk]source.Question
	failed     func(error)
	failing    bool // the last attempt failed

	asked   atomic.Uint64 // collected from workers
	found   atomic.Uint64 // the host knows the flow
	unknown atomic.Uint64 // it does not, however often it was asked
	gone    atomic.Uint64 // it does, and the session has ended
	refused atomic.Uint64
	errors  atomic.Uint64
}

// New returns a translation. failed is told of the first of several errors in a row.
func New(t source.Translator, sessions *session.Table, failed func(error)) *Translation {
	return &Translation{translator: t, sessions: sessions, failed: failed}
}

// Asker returns that of the worker with a number, from 0. Safe for concurrent use with all but itself.
func (t *Translation) Asker(worker int) *Asker {
	askers := t.all()
	if worker >= len(askers) {
		askers = slices.Clone(askers)
		for len(askers) <= worker {
			askers = append(askers, new(Asker))
		}
		t.askers.Store(&askers)
	}
	return askers[worker]
}

// all returns the askers of workers.
func (t *Translation) all() []*Asker {
	if askers := t.askers.Load(); askers != nil {
		return *askers
	}
	return nil
}

// Counts returns what became of sessions: asked = found + unknown + gone + those that wait; beside them the refused, which were too
// many at a time, and the attempts that failed. Safe for concurrent use.
func (t *Translation) Counts() map[string]uint64 {
	refused := t.refused.Load()
	for _, a := range t.all() {
		refused += a.refused.Load()
	}
	return map[string]uint64{
		"asked": t.asked.Load(), "found": t.found.Load(), "unknown": t.unknown.Load(), "gone": t.gone.Load(), "refused": refused,
		"errors": t.errors.Load(),
	}
}

// Run asks until ctx ends.
func (t *Translation) Run(ctx context.Context) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	var start time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if start.IsZero() {
				start = now
			}
			t.step(now.Sub(start))
		}
	}
}

// step collects what has begun and asks for what is due.
func (t *Translation) step(now time.Duration) {
	for _, a := range t.all() {
		t.collect(a, now)
	}
	for attempt := range t.queues {
		for t.ask(attempt, now) {
		}
	}
}

// collect takes what a worker has noted.
func (t *Translation) collect(a *Asker, now time.Duration) {
	for head, tail := a.head.Load(), a.tail.Load(); tail < head; tail++ {
		if t.queues[0].put(waiting{begun: a.ring[tail%perWorker], due: now + delays[0]}) {
			t.asked.Add(1)
		} else {
			t.refused.Add(1)
		}
		a.tail.Store(tail + 1)
	}
}

// ask asks for sessions that are due for that attempt, and reports whether there may be more.
func (t *Translation) ask(attempt int, now time.Duration) (more bool) {
	n := 0
	for n < perAsk {
		w, ok := t.queues[attempt].take(now)
		if !ok {
			break
		}
		t.batch[n], t.questions[n] = w, source.Question{Flow: w.flow}
		n++
	}
	if n == 0 {
		return false
	}
	err := t.translator.Translate(t.questions[:n])
	if err != nil {
		t.errors.Add(1)
		if !t.failing {
			t.failed(err)
		}
	}
	t.failing = err != nil
	for i := range t.questions[:n] {
		t.answer(&t.batch[i], &t.questions[i], attempt, now)
	}
	return n == perAsk
}

// answer puts what was found into the flow table. What was not is asked for once more.
func (t *Translation) answer(w *waiting, q *source.Question, attempt int, now time.Duration) {
	switch {
	case q.Found:
		nat := packet.TranslationOf(&q.Flow, &q.Reply)
		if t.sessions.Translate(&w.key, w.id, &nat) {
			t.found.Add(1)
		} else {
			t.gone.Add(1)
		}
	case attempt+1 < len(delays):
		w.due = now + delays[attempt+1]
		if t.queues[attempt+1].put(*w) {
			return
		}
		fallthrough
	default:
		t.unknown.Add(1)
	}
}
