package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
	// pausesAfter is how long nothing must be lost until the health tells of the loss in the past tense.
	pausesAfter = 2 * time.Second
)

// loss follows one counter of what is lost.
type loss struct {
	seen   uint64    // the counter at the last look
	begun  uint64    // the counter before the loss began
	since  time.Time // when it began; zero: nothing is being lost
	grew   time.Time // when the counter last grew
	looked time.Time // the last look
	said   time.Time
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
	l.looked = now
	switch {
	case grown && l.since.IsZero():
		*l = loss{seen: counter, begun: l.seen, since: now, grew: now, looked: now, said: now}
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

// pauses reports whether nothing was lost in the last looks.
func (l *loss) pauses() bool { return l.looked.Sub(l.grew) >= pausesAfter }

// unread is a counter of what a source has not read. One that is opened again counts anew, also if it has the same name.
type unread struct {
	source *openSource
	what   *wording
}

// wording is how the log tells of a loss: at the beginning, while it lasts, and at the end. counted is what is counted.
type wording struct{ counted, begins, goesOn, ends string }

var (
	ofRing = wording{
		"records", "a ring overflows: records are lost, and a loss record will say how many", "a ring still overflows",
		"a ring overflows no longer",
	}
	ofPackets = wording{
		"packets", "packets are lost before they are read", "packets are still lost before they are read",
		"no more packets are lost before they are read",
	}
	ofEvents = wording{
		"events", "events are lost before they are read: a loss record says how many, at most", "events are still lost before they are read",
		"no more events are lost before they are read",
	}
	ofBypass = wording{
		"bypassed", "packets go past: they are sent on, and nobody judges them", "packets still go past, unjudged",
		"no more packets go past",
	}
)

// watch says in the log when rings overflow and when packets or events are lost before they are read, or go past: at the beginning,
// every minute while it lasts, and at the end.
type watch struct {
	log *slog.Logger
	// read returns what each sink's ring has lost because it was full, and what each source has not read.
	read func() (rings map[string]uint64, sources map[unread]uint64)

	mu      sync.Mutex
	rings   map[string]*loss
	sources map[unread]*loss
}

func newWatch(log *slog.Logger, read func() (map[string]uint64, map[unread]uint64)) *watch {
	return &watch{log: log, read: read, rings: make(map[string]*loss), sources: make(map[unread]*loss)}
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
	for name, n := range rings {
		say(w.log.With("sink", name), &ofRing, of(w.rings, name), now, n)
	}
	for u, n := range sources {
		say(w.log.With("source", u.source.Name), u.what, of(w.sources, u), now, n)
	}
	maps.DeleteFunc(w.rings, func(name string, _ *loss) bool { _, there := rings[name]; return !there })
	maps.DeleteFunc(w.sources, func(u unread, _ *loss) bool { _, there := sources[u]; return !there })
}

// of returns the loss of that key, a new one if there is none.
func of[K comparable](all map[K]*loss, key K) *loss {
	l := all[key]
	if l == nil {
		l = new(loss)
		all[key] = l
	}
	return l
}

// say takes the counter of a loss, logs the news of it, and forgets the loss if it has ended.
func say(log *slog.Logger, what *wording, l *loss, now time.Time, counter uint64) {
	switch l.look(now, counter) {
	case begins:
		log.Warn(what.begins, what.counted, l.lost()) //nolint:sloglint // one of the wordings above
	case goesOn:
		log.Warn(what.goesOn, what.counted, l.lost(), "since", l.since.Format(time.RFC3339)) //nolint:sloglint // as above
	case ends:
		log.Warn(what.ends, what.counted, l.lost(), "seconds", int64(l.grew.Sub(l.since).Seconds())) //nolint:sloglint // as above
		*l = loss{seen: l.seen}
	}
}

// overflowing returns since when the ring of a sink overflows and how many records that has cost; a zero time if it does
// not.
func (w *watch) overflowing(sink string) (since time.Time, lost uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.rings[sink]
	if l == nil {
		return time.Time{}, 0
	}
	return l.since, l.lost()
}

// health returns an error while anything is being lost, and until that is over: see overAfter.
func (w *watch) health() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for name, l := range w.rings {
		switch since, until := l.since.Format(time.RFC3339), l.grew.Format(time.RFC3339); {
		case l.since.IsZero():
		case l.pauses():
			errs = append(errs, fmt.Errorf("the ring of sink %s overflowed until %s: %d records lost", name, until, l.lost()))
		default:
			errs = append(errs, fmt.Errorf("the ring of sink %s overflows since %s: %d records lost", name, since, l.lost()))
		}
	}
	for u, l := range w.sources {
		switch since, until := l.since.Format(time.RFC3339), l.grew.Format(time.RFC3339); {
		case l.since.IsZero():
		case u.what == &ofBypass && l.pauses():
			errs = append(errs, fmt.Errorf("packets went past source %s until %s: %d unjudged", u.source.Name, until, l.lost()))
		case u.what == &ofBypass:
			errs = append(errs, fmt.Errorf("packets go past source %s since %s: %d unjudged", u.source.Name, since, l.lost()))
		case l.pauses():
			errs = append(errs, fmt.Errorf("source %s lost %s until %s: %d lost", u.source.Name, u.what.counted, until, l.lost()))
		default:
			errs = append(errs, fmt.Errorf("source %s loses %s since %s: %d lost", u.source.Name, u.what.counted, since, l.lost()))
		}
	}
	return errors.Join(errs...)
}

// losses reads what the watch watches.
func (pl *Pipeline) losses() (rings map[string]uint64, sources map[unread]uint64) {
	outs, gate := pl.outputs.all(), pl.gate.Ledger()
	rings = make(map[string]uint64)
	for i, out := range outs {
		if out.ring != nil {
			rel := out.ring.Released()
			rel.Add(&out.before.Released)
			lost := lostInRing(&gate.Sinks[i], &rel)
			if st := out.spoolState(); st != nil {
				lost += st.Evicted.Total() - st.Evicted[event.Loss]
			}
			rings[out.name] = lost
		}
	}
	sources = make(map[unread]uint64)
	for _, src := range pl.readers.Load().sources {
		lost := &ofPackets
		if src.Events {
			lost = &ofEvents
		}
		for _, c := range src.opened.Counters() {
			switch {
			case c.Lost:
				sources[unread{src, lost}] += c.Value
			case c.Bypassed:
				sources[unread{src, &ofBypass}] += c.Value
			}
		}
	}
	return rings, sources
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
