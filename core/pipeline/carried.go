package pipeline

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rtflow/pipelined/internal/statedir"
	"github.com/rtflow/pipelined/sdk/event"
)

// carried is the account that runs hand to each other: what a stop gives up is announced by the next run, as the first record
// of the sink's stream. What a stop hands over is in the account, too, until the next run has delivered it: a run that is killed before
// that gives it up. Safe for concurrent use.
type carried struct {
	dir *statedir.Dir // nil: there is none

	mu        sync.Mutex
	losses    statedir.Losses // what the file is to hold: not announced yet, or what it is about is not acknowledged
	unwritten bool            // it could not be written
}

// chooseEpochs returns the epochs of the streams: those that are taken over, and new ones. It is an error if the epochs of earlier runs
// are not known.
func (pl *Pipeline) chooseEpochs(before *handedOver) ([]uint64, error) {
	epochs := make([]uint64, len(pl.plan.Sinks))
	fresh := 0
	for i := range epochs {
		if s := before.sink(i); s != nil {
			epochs[i] = s.Epoch
		} else {
			fresh++
		}
	}
	next, err := pl.reserveEpochs(pl.started, fresh)
	if err != nil {
		return nil, err
	}
	if pl.epoch = next; before != nil {
		pl.epoch = before.Epoch
	}
	for i := range epochs {
		if epochs[i] == 0 {
			epochs[i] = next
			next++
		}
	}
	return epochs, nil
}

// reserveEpochs returns the first of n epochs that nothing has used, at least that time. It is an error if the epochs of earlier runs
// are not known.
func (pl *Pipeline) reserveEpochs(now time.Time, n int) (uint64, error) {
	o := &pl.outputs
	o.mu.Lock()
	defer o.mu.Unlock()
	atLeast, dir := max(uint64(now.UnixNano()), o.lastEpoch+1), pl.options.State
	if dir == nil {
		o.lastEpoch = atLeast + uint64(n) - 1
	}
	if dir == nil || n == 0 {
		return atLeast, nil
	}
	epoch, err := dir.ReserveEpochs(atLeast, n)
	if epoch == 0 && err != nil {
		return 0, fmt.Errorf("service.state: the epochs that earlier runs have used cannot be read: %w", err)
	}
	if err != nil {
		pl.log.Error("the epoch cannot be noted: after a restart with the clock set back it may be used again", "err", err)
	}
	o.lastEpoch = epoch + uint64(n) - 1
	return epoch, nil
}

// readCarried reads what the last run has given up.
func (pl *Pipeline) readCarried() (err error) {
	c := &pl.carried
	if c.dir = pl.options.State; c.dir == nil {
		return nil
	}
	if c.losses, err = c.dir.Losses(); err != nil { // to go on would overwrite it
		return fmt.Errorf("service.state: what the last run has given up cannot be read: %w", err)
	}
	return nil
}

// announceCarried puts what the last run has given up, if anything, in front of a sink's stream, unless that is taken over: its ring
// then holds it.
func (pl *Pipeline) announceCarried(out *output, takenOver bool) {
	c := &pl.carried
	c.mu.Lock()
	loss, ok := c.losses[out.name]
	c.mu.Unlock()
	if !ok {
		return
	}
	if out.settled = 1; takenOver {
		out.settled = out.ring.Last()
		return
	}
	var rec event.Record
	rec.Reset(event.Loss)
	var counts event.LossCounts
	for name, n := range loss.Events {
		if k, ok := event.ParseKind(name); ok && k != event.Loss {
			counts[k] = n
		}
	}
	rec.SetLoss(event.LossAbandoned, 0, &counts, loss.Since, loss.Until)
	if !pl.gate.AnnounceFirst(out.index, &rec) {
		return
	}
	out.announced = counts
	pl.log.Warn("the last run has given up events; a loss record says so", "sink", out.name, "events", counts.Total())
}

// tellUnannounced says in the log what is announced to nobody.
func (pl *Pipeline) tellUnannounced() {
	for name := range pl.carried.losses {
		if pl.outputs.find(name) == nil {
			pl.log.Warn("the last run has given up events of a sink that is not configured any more; they are announced when it is", "sink", name)
		}
	}
}

// givenUpBefore returns what earlier runs have given up for a sink, as its stream announces it: a number for every kind.
func (out *output) givenUpBefore() map[string]uint64 {
	events := make(map[string]uint64)
	for _, k := range event.Kinds() {
		if k != event.Loss {
			events[k.String()] = out.announced[k]
		}
	}
	return events
}

// forgetAnnounced takes a sink's losses out of the file when what they are about is acknowledged, unless its delivery ends before.
func (pl *Pipeline) forgetAnnounced(out *output) {
	for over := false; ; {
		room := out.ring.Room()
		if out.ring.Acked() >= out.settled {
			pl.carried.set(pl, out.name, nil)
			return
		}
		if over {
			return
		}
		select {
		case <-room:
		case <-out.life.ended:
			over = true
		}
	}
}

// set writes what the next run is to announce for a sink, nil for nothing.
func (c *carried) set(pl *Pipeline, sink string, loss *statedir.Loss) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if loss == nil {
		if _, ok := c.losses[sink]; !ok {
			return
		}
		delete(c.losses, sink)
	} else {
		c.losses[sink] = *loss
	}
	err := c.dir.WriteLosses(c.losses)
	if c.unwritten = err != nil; c.unwritten {
		pl.log.Error("what is given up cannot be noted: the next run will not announce it", "sink", sink, "err", err)
	}
}

// account notes what is lost of a sink's stream if its ring is given up: what it holds, and what else no delivered loss record tells.
// The sink has been told to stop. It returns how many events that are.
func (pl *Pipeline) account(out *output) uint64 {
	name, r := out.name, out.ring
	held, untold := r.State(), pl.gate.Untold(out.index)
	settled := r.Acked() >= out.settled
	if untold.Total() == 0 {
		if settled {
			pl.carried.set(pl, name, nil)
		}
		return 0
	}
	loss := statedir.Loss{Since: held.OldestTime, Events: make(map[string]uint64)}
	if loss.Since <= 0 {
		loss.Since = pl.started.UnixNano()
	}
	if out.settled > 0 && !settled {
		loss.Since = min(loss.Since, pl.carried.since(name))
	}
	loss.Until = max(loss.Since, time.Now().UnixNano())
	for k, n := range untold {
		if n > 0 {
			loss.Events[event.Kind(k).String()] = n
		}
	}
	if pl.carried.dir != nil {
		pl.carried.set(pl, name, &loss)
	}
	return untold.Total()
}

// giveUp abandons what a ring still holds, which is accounted for.
func (pl *Pipeline) giveUp(out *output, untold uint64) {
	name, r, log := out.name, out.ring, pl.log
	held := r.State().Held
	r.Abandon()
	if held > 0 {
		log.Warn("records abandoned", "sink", name, "records", held)
	}
	switch {
	case untold == 0:
	case pl.carried.dir != nil && pl.carried.isUnwritten(): // the log says so
	case pl.carried.dir != nil:
		log.Warn("the next run will announce the events that are given up", "sink", name, "events", untold)
	case pl.plan.Live:
		log.Warn("nothing will announce the events that are given up: service.state is not set", "sink", name, "events", untold)
	}
}

// isUnwritten reports whether the next run will not know what was noted last.
func (c *carried) isUnwritten() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unwritten
}

// since returns since when a sink's stream lacks what is noted for it.
func (c *carried) since(sink string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.losses[sink].Since
}

// OpenState opens the directory in which runs keep their account. log is told of files in it that are put aside.
func OpenState(path string, log *slog.Logger) (*statedir.Dir, error) {
	dir, err := statedir.Open(path, func(msg string, args ...any) { log.Warn(msg, args...) }) //nolint:sloglint // the directory words it
	if err != nil {
		return nil, fmt.Errorf("service.state: %w", err)
	}
	return dir, nil
}
