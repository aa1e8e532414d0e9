package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/spool"
	"github.com/rtflow/pipelined/sdk/event"
)

// openSpool opens the spool of a sink; of a sink without one it is nil. Epochs that are chosen from then on are higher than all of it.
func (pl *Pipeline) openSpool(s *plan.Sink) (*spool.Spool, error) {
	if s.Spool == nil {
		return nil, nil
	}
	o, log := *s.Spool, pl.log
	if state := pl.options.State; o.Path == "" && state != nil {
		o.Path = state.Path("spool/" + s.Name)
	}
	if o.Path == "" {
		return nil, fmt.Errorf("sink %s: its spool has no place: give it a path, or set service.state, a directory for what outlives the daemon (systemd makes one)", s.Name)
	}
	sp, err := spool.Open(spool.Config{
		Options: o, Name: s.Name, Host: pl.plan.Hostname, Log: log, Evict: s.Replay.Overflow == replay.Evict, Window: s.Replay.Slots, Now: time.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("sink %s: spool: %w", s.Name, err)
	}
	used := sp.HighestEpoch()
	if now := uint64(time.Now().UnixNano()); used > now {
		log.Warn("the clock was set back since an earlier run: epochs go on from there", "sink", s.Name, "seconds", (used-now)/1e9)
	}
	pl.outputs.mu.Lock()
	defer pl.outputs.mu.Unlock()
	pl.outputs.lastEpoch = max(pl.outputs.lastEpoch, used)
	return sp, nil
}

// openSpools opens the spools of all sinks.
func (pl *Pipeline) openSpools() (spools, error) {
	list := make(spools, len(pl.plan.Sinks))
	for i := range list {
		var err error
		if list[i], err = pl.openSpool(&pl.plan.Sinks[i]); err != nil {
			return nil, errors.Join(err, list.close())
		}
	}
	return list, nil
}

// spools are those of sinks, nil where there is none.
type spools []*spool.Spool

// close closes the spools of sinks that were not started.
func (list spools) close() error {
	var errs []error
	for _, s := range list {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// runSpooled runs the spool of a sink and its delivery, and closes it when both have ended.
func (out *output) runSpooled(ctx context.Context, log *slog.Logger) {
	var writing sync.WaitGroup
	writing.Go(func() { out.spool.Run(ctx) })
	out.delivery.Run(ctx)
	writing.Wait()
	if err := out.spool.Close(); err != nil {
		log.Error("the spool does not close", "sink", out.name, "err", err)
	}
}

// spoolState returns the state of the sink's spool, nil if it has none.
func (out *output) spoolState() *spool.State {
	if out.spool == nil {
		return nil
	}
	st := out.spool.State()
	return &st
}

// spoolAccount is what became of the records in the spools that sinks of one name have had, one after another. A nil one is of none.
type spoolAccount struct {
	spool.Counts

	held, left spool.Tally
}

// with returns the account with that of the spool that the sink has now; nil if it has none and had none.
func (a *spoolAccount) with(st *spool.State) *spoolAccount {
	if st == nil {
		return a
	}
	sum := &spoolAccount{Counts: st.Counts, held: st.Held}
	if a != nil {
		sum.Add(&a.Counts)
		sum.left = a.left
	}
	return sum
}

// leave returns the account with that of a spool whose sink is removed.
func (a *spoolAccount) leave(st *spool.State) *spoolAccount {
	sum := a.with(st)
	sum.left.Add(&sum.held)
	sum.held = spool.Tally{}
	return sum
}

// put puts the records of a kind into the ledger. direct is what has left rings without a spool.
func (a *spoolAccount) put(q *metrics.Queue, direct *replay.Released, k event.Kind) {
	q.Acknowledged, q.Rejected = a.Acknowledged[k]+direct.Acknowledged[k], a.Rejected[k]+direct.Rejected[k]
	q.Spool = &metrics.Spool{
		Found: a.Found[k], Spooled: a.Spooled[k] + direct.Acknowledged[k] + direct.Rejected[k], Evicted: a.Evicted[k], Damaged: a.Damaged[k],
		Held: a.held[k], Left: a.left[k], Unspooled: q.Acknowledged + q.Rejected + a.Evicted[k] + a.Damaged[k],
	}
}

// SpoolStatus is the state of a sink's spool.
type SpoolStatus struct {
	Held     uint64 `json:"held"` // records
	Bytes    int64  `json:"bytes"`
	Size     int64  `json:"size"` // bytes that it may take
	Segments int    `json:"segments"`
	Aside    int    `json:"aside"` // files with something unreadable in them, which were put aside
	// TornRecords and TornBytes were cut off at the start: their write had not ended.
	TornRecords uint64 `json:"torn_records"`
	TornBytes   uint64 `json:"torn_bytes"`
	Errors      uint64 `json:"errors"` // operations of the disk that have failed
	Slow        uint64 `json:"slow"`   // that have taken more than a second
	Full        string `json:"full,omitempty"`
	LastError   string `json:"last_error,omitempty"`
}

// showSpool puts the state of a spool into that of its sink.
func (out *output) showSpool(to *SinkStatus, ring *replay.State, st *spool.State) {
	to.Sent, to.Acked, to.Epoch = st.Sent, st.Acked, st.Epoch
	to.LagRecords, to.LagSeconds = ring.Unsent+st.Unsent, spoolLag(ring, st)
	to.Spool = &SpoolStatus{
		Held: st.Held.Total(), Bytes: st.Bytes, Size: st.Size, Segments: st.Segments, Aside: st.Aside,
		TornRecords: st.TornRecords, TornBytes: st.TornBytes, Errors: st.Errors, Slow: st.Slow, Full: st.Full, LastError: st.LastError,
	}
}

// measureSpool does the same for the metrics.
func (out *output) measureSpool(to *metrics.Sink, ring *replay.State, st *spool.State) {
	to.LagRecords, to.LagSeconds = ring.Unsent+st.Unsent, spoolLag(ring, st)
	to.Spool = &metrics.SpoolState{
		Bytes: st.Bytes, Size: st.Size, Full: st.Full != "", Errors: st.Errors, Slow: st.Slow, Torn: st.TornRecords,
	}
}

// spoolLag is the age of the oldest record in spool and ring, in seconds.
func spoolLag(ring *replay.State, st *spool.State) float64 {
	if st.OldestTime == 0 {
		return lag(*ring)
	}
	return lag(replay.State{OldestTime: st.OldestTime})
}
