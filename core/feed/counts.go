package feed

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/tally"
)

// What a feed counts beside what has happened.
const (
	silent    = source.NumWhats + iota // sessions that began before their source was opened; of those that began
	joined                             // sessions that were given the rule that has let them through
	displaced                          // rules that made room for others before their session was told of
	unnamed                            // events whose record does not name the rule: there was no room for the name
	numCounters
)

// counts are the feed's counters in plain words. It publishes them once per pass.
type counts [numCounters]uint64

// published is what other goroutines see of a feed.
type published struct {
	beats  atomic.Uint64
	counts [numCounters]tally.Number
}

func (f *Feed) publish() { tally.Publish(f.published.counts[:], f.counts[:]) }

// Beats counts the loops of the feed: a watchdog sees by it that the feed is alive. Safe for concurrent use.
func (f *Feed) Beats() uint64 { return f.published.beats.Load() }

// Counts returns how much has happened, and what became of it, by name. Safe for concurrent use.
func (f *Feed) Counts() map[string]uint64 {
	c := make(map[string]uint64, numCounters)
	for what := range source.What(source.NumWhats) {
		c[what.String()] = f.published.counts[what].Load()
	}
	c["silent"] = f.published.counts[silent].Load()
	c["joined"] = f.published.counts[joined].Load()
	c["displaced"] = f.published.counts[displaced].Load()
	c["unnamed"] = f.published.counts[unnamed].Load()
	return c
}
