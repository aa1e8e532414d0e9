package unixsock

import (
	"encoding/json"
	"fmt"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

var _ sdk.Keeper = (*Sink)(nil)

// kept is what the next run of the daemon goes on with, if its stream goes on.
type kept struct {
	Acked   event.Seq `json:"acked"`
	Highest event.Seq `json:"highest"`
	From    event.Seq `json:"owed_from"`
	Until   event.Seq `json:"owed_until"`
	Path    string    `json:"path"`
	Delta   bool      `json:"delta"`
	Epoch   uint64    `json:"epoch"` // of the stream that the numbers are of
}

// Keep implements [sdk.Keeper]: the next connection begins behind the last acknowledgement, and with a resync that is owed.
func (k *Sink) Keep() []byte {
	b, err := json.Marshal(kept{k.acked, k.highest, k.owed.from, k.owed.until, k.Path, k.Delta, k.epoch})
	if err != nil {
		return nil // numbers have no error
	}
	return b
}

// TakeOver implements [sdk.Keeper].
func (k *Sink) TakeOver(state []byte) error {
	var s kept
	if err := json.Unmarshal(state, &s); err != nil {
		return fmt.Errorf("unixsock: what is kept: %w", err)
	}
	if s.From > s.Until {
		return fmt.Errorf("unixsock: what is kept: %+v", s)
	}
	k.epoch, k.acked, k.highest, k.owed = s.Epoch, s.Acked, s.Highest, owed{s.From, s.Until}
	k.moved(s.Path, s.Delta)
	return nil
}
