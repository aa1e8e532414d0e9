package metrics

import (
	"time"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/routes"
	"github.com/rtflow/pipelined/sdk"
)

// Snapshot is everything that the metrics show.
type Snapshot struct {
	Ledger        Ledger
	RateLimited   map[string]map[string]uint64 // by kind and zone
	Sinks         map[string]Sink
	Sources       map[string][]source.Counter
	SourceOpen    map[string]bool // false: closed, and to be opened again by a reload
	Hooks         map[string][]hook.Counter
	Feed          map[string]uint64 // what sources of events have told
	Routes        *routes.Status    // how the kernel's routes are followed; nil: they are not
	Configuration Configuration
	Translated    map[string]uint64 // what became of the sessions whose translation was asked for
	Watchers      int               // who look at what is admitted
	NotShown      uint64            // events that one of them, or all, did not get to see
}

// Configuration is which configuration runs.
type Configuration struct {
	Number   int // of those that ran, the first is 1
	Since    time.Time
	Refused  bool // the last attempt to change it failed
	Refusals int
}

// Sink is the state of a sink.
type Sink struct {
	Up         bool
	Runs       uint64
	LagRecords uint64
	LagSeconds float64
	// GivenUpBefore are the events, by kind, that earlier runs gave up and that this run's stream announces. It does not
	// change while the pipeline runs.
	GivenUpBefore map[string]uint64
	Counters      []sdk.Counter
	Spool         *SpoolState // nil: none
}

// SpoolState is the state of a sink's spool.
type SpoolState struct {
	Bytes, Size  int64
	Full         bool   // no record fits just now
	Errors, Slow uint64 // operations of the disk that have failed, or taken more than a second
	Torn         uint64 // records that were cut off at the start: their write had not ended
}
