package source

import (
	"iter"

	"github.com/rtflow/pipelined/core/session"
)

// Keeper is a source that hands what it knows to the source of the same name and plugin of the next run of the daemon, which goes on with
// it: what it has told of is not told again.
type Keeper interface {
	Source
	// Keep yields what it knows, in pieces that are valid until yield returns, and returns of how many sessions it would have told the
	// end. The feed and the workers have ended; the source may be closed.
	Keep(yield func(piece []byte) bool) (ends uint64)
	// TakeOver takes over the pieces of an earlier run, each valid until the next. It is called before anything is read from the
	// source. After an error nothing is taken over.
	TakeOver(pieces iter.Seq2[[]byte, error], ids IDs) error
}

// IDs says what the ids of an earlier run's names are in this one. A zone that there is not any more is none.
type IDs = session.IDs
