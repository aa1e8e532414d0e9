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
	"github.com/rtflow/pipelined/core/source"
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

// unread is what a source has lost before it could be read.
type unread struct {
	n    uint64
	what *wording
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
)

// watch says in the log when rings overflow and when packets or events are lost before they are read: at the beginning, every
// minute while it lasts, and at the end.
type watch struct {
	log   *slog.Logger
	sinks []string
	// read returns what each ring has lost because it was full, and what each source has lost.
	read func() (rings []uint64, sources map[string]unread)

	mu      sync.Mutex
	rings   []loss
	sources map[string]*sourceLoss
}

type sourceLoss struct {
	loss
	what *wording
}

func newWatch(log *slog.Logger, sinks []string, read func() ([]uint64, map[string]unread)) *watch {
	return &watch{log: log, sinks: sinks, read: read, rings: make([]loss, len(sinks)), sources: make(map[string]*sourceLoss)}
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
		say(w.log.With("sink", w.sinks[i]), &ofRing, &w.rings[i], now, n)
	}
	for name, u := range sources {
		l := w.sources[name]
		if l == nil {
			l = &sourceLoss{what: u.what}
			w.sources[name] = l
		}
		say(w.log.With("source", name), u.what, &l.loss, now, u.n)
	}
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
			errs = append(errs, fmt.Errorf("source %s loses %s since %s: %d lost", name, l.what.counted, l.since.Format(time.RFC3339), l.lost()))
		}
	}
	return errors.Join(errs...)
}

// losses reads what the watch watches.
func (pl *Pipeline) losses() (rings []uint64, sources map[string]unread) {
	gate := pl.gate.Ledger()
	for i, r := range pl.rings {
		rel := r.Released()
		rings = append(rings, lostInRing(&gate.Sinks[i], &rel))
	}
	sources = make(map[string]unread)
	for i, src := range pl.sources {
		sources[pl.plan.sources[i].name] = unreadBy(src)
	}
	return rings, sources
}

// unread returns how many packets and how many events sources have lost before they could be read.
func (pl *Pipeline) unread() (packets, events uint64) {
	for _, src := range pl.sources {
		u := unreadBy(src)
		if u.what == &ofEvents {
			events += u.n
		} else {
			packets += u.n
		}
	}
	return packets, events
}

func unreadBy(src source.Source) unread {
	u := unread{what: &ofPackets}
	if _, ok := src.(source.Events); ok {
		u.what = &ofEvents
	}
	for _, c := range src.Counters() {
		if c.Lost {
			u.n += c.Value
		}
	}
	return u
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
