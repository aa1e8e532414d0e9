package pipeline

import (
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

// Tail shows what the gate admits. Safe for concurrent use.
func (pl *Pipeline) Tail() *tail.Tail { return pl.tail }

// Names returns the names for the ids in records of a generation. Safe for concurrent use.
func (pl *Pipeline) Names(generation uint32) *event.Names { return pl.names.Of(generation) }

// LatestNames returns every name that there is. Safe for concurrent use.
func (pl *Pipeline) LatestNames() *event.Names { return pl.names.All() }
