package admission

import (
	"math/bits"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// row is what a lane counts apart: a kind, or a kind's records of sessions that nobody has answered.
type row uint8

const (
	unansweredOpen  = row(event.NumKinds)
	unansweredClose = unansweredOpen + 1
	numRows         = unansweredClose + 1
)

var (
	kindOf = [numRows]event.Kind{
		event.SessionOpen, event.SessionClose, event.PolicyDeny, event.ScreenDrop, event.FilterLog, event.Loss,
		event.SessionOpen, event.SessionClose,
	}
	classOf = [numRows]replay.Class{
		replay.Priority, replay.Priority, replay.PolicyDeny, replay.ScreenDrop, replay.FilterLog, replay.Announcement,
		replay.Unanswered, replay.Unanswered,
	}
)

// rowSet is a set of rows.
type rowSet uint8

// first returns the lowest row of a set that is not empty.
func (s rowSet) first() row { return row(bits.TrailingZeros8(uint8(s))) % numRows }

// row returns the row of an event.
func (e *Event) row() row {
	r := row(e.Kind)
	if e.Unanswered {
		r = unansweredRow(e.Kind)
	}
	return r % numRows // so that the compiler sees the bound
}

// wantedRows returns the rows of the kinds that a sink wants.
func wantedRows(only event.KindSet) rowSet {
	rows := rowSet(only)
	return rows | rows&answeredRows<<unansweredOpen
}

// answeredRows are the rows of session records that the ring keeps its reserve for.
const answeredRows = rowSet(1<<event.SessionOpen | 1<<event.SessionClose)

// unansweredRow returns the row of a session kind's unanswered records.
func unansweredRow(k event.Kind) row { return unansweredOpen + row(k-event.SessionOpen) }

// numLimits is how many rows are limited; an index among them is called a limit.
const numLimits = 5

var (
	limitOf   = [numRows]int8{-1, -1, 0, 1, 2, -1, 3, 4}
	limitKind = [numLimits]event.Kind{event.PolicyDeny, event.ScreenDrop, event.FilterLog, event.SessionOpen, event.SessionClose}
	// bucketOf maps a limit to the limiter's class: open and close records share one.
	bucketOf = [numLimits]uint8{0, 1, 2, 3, 3}
)
