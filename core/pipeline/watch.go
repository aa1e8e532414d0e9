package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	// lookEvery is how often the watch looks at the counters of losses.
	lookEvery = time.Second
	// remindEvery is how often it says that a loss goes on.
	remindEvery = time.Minute
	// overAfter is how long nothing must be lost until a loss is over.
	overAfter = 10 * time.Second
)

// loss follows one counter of what is lost.
type loss struct {
	seen  uint64    // the counter at the last look
	begun uint64    // the counter before the loss began
	since time.Time // when it began; zero: nothing is being lost
	grew  time.Time // when the counter last grew
	said  time.Time
}

// news is what is to be logged about a loss.
type news uint8

const (
	nothing news = iota
	begins
	goesOn
	ends
)

// look takes the counter at now and returns what is to be logged.
func (l *loss) look(now time.Time, counter uint64) news {
	grown := counter > l.seen
	switch {
	case grown && l.since.IsZero():
		*l = loss{seen: counter, begun: l.seen, since: now, grew: now, said: now}
		return begins
	case l.since.IsZero():
		return nothing
	case grown:
		l.seen, l.grew = counter, now
	case now.Sub(l.grew) >= overAfter:
		return ends
	}
	if now.Sub(l.said) >= remindEvery {
		l.said = now
		return goesOn
	}
	return nothing
}

// lost returns how much was lost since the loss began; 0 if nothing is being lost.
func (l *loss) lost() uint64 {
	if l.since.IsZero() {
		return 0
	}
	return l.seen - l.begun
}

// watch says in the log when rings overflow and when packets are lost before they are read: at the beginning, every
// minute while it lasts, and at the end.
type watch struct {
	log   *slog.Logger
	sinks []string
	// read returns what each ring has lost because it was full, and what each source has lost.
	read func() (rings []uint64, sources map[string]uint64)

	mu      sync.Mutex
	rings   []loss
	sources map[string]*loss
}

func newWatch(log *slog.Logger, sinks []string, read func() ([]uint64, map[string]uint64)) *watch {
	return &watch{log: log, sinks: sinks, read: read, rings: make([]loss, len(sinks)), sources: make(map[string]*loss)}
}

// run looks until ctx ends, and then once more.
func (w *watch) run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			w.look(now)
		case <-ctx.Done():
			w.look(time.Now())
			return
		}
	}
}

func (w *watch) look(now time.Time) {
	rings, sources := w.read()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, n := range rings {
		w.say(&w.rings[i], w.rings[i].look(now, n), now, "the ring of a sink", "sink", w.sinks[i])
	}
	for name, n := range sources {
		l := w.sources[name]
		if l == nil {
			l = new(loss)
			w.sources[name] = l
		}
		w.say(l, l.look(now, n), now, "a source", "source", name)
	}
}

// say logs news of a loss, and forgets the loss if it has ended.
func (w *watch) say(l *loss, what news, now time.Time, who, key, name string) {
	overflows := key == "sink"
	switch {
	case what == begins && overflows:
		w.log.Warn("a ring overflows: records are lost, and a loss record will say how many", key, name, "records", l.lost())
	case what == begins:
		w.log.Warn("packets are lost before they are read", key, name, "packets", l.lost())
	case what == goesOn && overflows:
		w.log.Warn("a ring still overflows", key, name, "records", l.lost(), "since", l.since.Format(time.RFC3339))
	case what == goesOn:
		w.log.Warn("packets are still lost before they are read", key, name, "packets", l.lost(), "since", l.since.Format(time.RFC3339))
	case what == ends && overflows:
		w.log.Warn("a ring overflows no longer", key, name, "records", l.lost(), "seconds", int64(l.grew.Sub(l.since).Seconds()))
	case what == ends:
		w.log.Warn("no more packets are lost before they are read", key, name, "packets", l.lost(), "seconds", int64(l.grew.Sub(l.since).Seconds()))
	}
	if what == ends {
		*l = loss{seen: l.seen}
	}
}

// overflowing returns since when the ring of a sink overflows and how many records that has cost; a zero time if it does
// not.
func (w *watch) overflowing(i int) (since time.Time, lost uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rings[i].since, w.rings[i].lost()
}

// health returns an error while anything is being lost.
func (w *watch) health() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for i := range w.rings {
		if l := &w.rings[i]; !l.since.IsZero() {
			errs = append(errs, fmt.Errorf("the ring of sink %s overflows since %s: %d records lost", w.sinks[i], l.since.Format(time.RFC3339), l.lost()))
		}
	}
	for name, l := range w.sources {
		if !l.since.IsZero() {
			errs = append(errs, fmt.Errorf("source %s loses packets since %s: %d lost", name, l.since.Format(time.RFC3339), l.lost()))
		}
	}
	return errors.Join(errs...)
}

// losses reads what the watch watches.
func (pl *Pipeline) losses() (rings []uint64, sources map[string]uint64) {
	gate := pl.gate.Ledger()
	for i, r := range pl.rings {
		rel := r.Released()
		rings = append(rings, lostInRing(&gate.Sinks[i], &rel))
	}
	return rings, pl.lostPackets()
}

// lostPackets returns how many packets each source has lost before they could be read.
func (pl *Pipeline) lostPackets() map[string]uint64 {
	lost := make(map[string]uint64)
	for i, src := range pl.sources {
		for _, c := range src.Counters() {
			if c.Lost {
				lost[pl.plan.sources[i].name] += c.Value
			}
		}
	}
	return lost
}

// lostInRing adds up what a ring had no room for.
func lostInRing(s *admission.SinkLedger, r *replay.Released) (n uint64) {
	for k := range s.OverBudget {
		n += s.OverBudget[k] + s.Disconnected[k]
		if event.Kind(k) != event.Loss { // its counts go into another loss record
			n += r.Evicted[k]
		}
	}
	return n
}
