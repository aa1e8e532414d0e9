package pipeline

import (
	"context"
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
	losses    statedir.Losses    // what the file holds: not announced yet, or what it is about is not acknowledged
	announced []event.LossCounts // of the sinks, by index; not changed after the pipeline was opened
	// settled are the numbers, by sink, whose acknowledgement takes a sink's losses out of the file.
	settled []event.Seq
}

// chooseEpochs sets the epochs of the streams: those that are taken over, and new ones. It is an error if the epochs of earlier runs are
// not known.
func (pl *Pipeline) chooseEpochs(before *handedOver) error {
	pl.epochs = make([]uint64, len(pl.plan.sinks))
	fresh := 0
	for i := range pl.epochs {
		if s := before.sink(i); s != nil {
			pl.epochs[i] = s.Epoch
		} else {
			fresh++
		}
	}
	next, err := pl.reserveEpochs(fresh)
	if err != nil {
		return err
	}
	if pl.epoch = next; before != nil {
		pl.epoch = before.Epoch
	}
	for i := range pl.epochs {
		if pl.epochs[i] == 0 {
			pl.epochs[i] = next
			next++
		}
	}
	return nil
}

// reserveEpochs returns the first of n epochs that no run has used. It is an error if the epochs of earlier runs are not known.
func (pl *Pipeline) reserveEpochs(n int) (uint64, error) {
	now, dir := uint64(pl.started.UnixNano()), pl.plan.options.State
	if dir == nil || n == 0 {
		return now, nil
	}
	epoch, err := dir.ReserveEpochs(now, n)
	if epoch == 0 && err != nil {
		return 0, fmt.Errorf("service.state: the epochs that earlier runs have used cannot be read: %w", err)
	}
	if err != nil {
		pl.plan.options.Log.Error("the epoch cannot be noted: after a restart with the clock set back it may be used again", "err", err)
	}
	return epoch, nil
}

// announceCarried puts what the last run has given up in front of every sink's stream, but for those that are taken over: they hold it.
func (pl *Pipeline) announceCarried(before *handedOver) error {
	c := &pl.carried
	c.dir, c.announced, c.settled = pl.plan.options.State, make([]event.LossCounts, len(pl.rings)), make([]event.Seq, len(pl.rings))
	if c.dir == nil {
		return nil
	}
	log := pl.plan.options.Log
	var err error
	if c.losses, err = c.dir.Losses(); err != nil { // to go on would overwrite it
		return fmt.Errorf("service.state: what the last run has given up cannot be read: %w", err)
	}
	for i, s := range pl.plan.sinks {
		loss, ok := c.losses[s.name]
		if !ok {
			continue
		}
		if c.settled[i] = 1; before.sink(i) != nil {
			c.settled[i] = pl.rings[i].Last()
			continue
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
		if !pl.gate.AnnounceFirst(i, &rec) {
			continue
		}
		c.announced[i] = counts
		log.Warn("the last run has given up events; a loss record says so", "sink", s.name, "events", counts.Total())
	}
	for name := range c.losses {
		if !pl.hasSink(name) {
			log.Warn("the last run has given up events of a sink that is not configured any more; they are announced when it is", "sink", name)
		}
	}
	return nil
}

// before returns what earlier runs have given up for a sink, by index, as its stream announces it: a number for every kind.
func (c *carried) before(i int) map[string]uint64 {
	events := make(map[string]uint64)
	for _, k := range event.Kinds() {
		if k != event.Loss {
			events[k.String()] = c.announced[i][k]
		}
	}
	return events
}

func (pl *Pipeline) hasSink(name string) bool {
	for _, s := range pl.plan.sinks {
		if s.name == name {
			return true
		}
	}
	return false
}

// forgetAnnounced takes losses out of the file when what they are about is acknowledged, until ctx ends.
func (pl *Pipeline) forgetAnnounced(ctx context.Context) {
	var wg sync.WaitGroup
	for i, s := range pl.plan.sinks {
		if pl.carried.settled[i] == 0 {
			continue
		}
		wg.Go(func() {
			for r := pl.rings[i]; ; {
				room := r.Room()
				if r.Acked() >= pl.carried.settled[i] {
					pl.carried.set(pl, s.name, nil)
					return
				}
				select {
				case <-room:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
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
	if err := c.dir.WriteLosses(c.losses); err != nil {
		pl.plan.options.Log.Error("what is given up cannot be noted: the next run will not announce it", "sink", sink, "err", err)
	}
}

// account notes what is lost of a sink's stream if its ring is given up: what it holds, and what else no delivered loss record tells.
// The sink has been told to stop. It returns how many events that are.
func (pl *Pipeline) account(i int) uint64 {
	name, r := pl.plan.sinks[i].name, pl.rings[i]
	held, untold := r.State(), pl.gate.Untold(i)
	settled := r.Acked() >= pl.carried.settled[i]
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
	if pl.carried.settled[i] > 0 && !settled {
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
func (pl *Pipeline) giveUp(i int, untold uint64) {
	name, r, log := pl.plan.sinks[i].name, pl.rings[i], pl.plan.options.Log
	held := r.State().Held
	r.Abandon()
	if held > 0 {
		log.Warn("records abandoned", "sink", name, "records", held)
	}
	switch {
	case untold == 0:
	case pl.carried.dir != nil:
		log.Warn("the next run will announce the events that are given up", "sink", name, "events", untold)
	case pl.plan.live:
		log.Warn("nothing will announce the events that are given up: service.state is not set", "sink", name, "events", untold)
	}
}

// since returns since when a sink's stream lacks what is noted for it.
func (c *carried) since(sink string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.losses[sink].Since
}

// UseState makes the pipelines of the plan keep their account in a directory. The caller closes it when they have ended.
func (p *Plan) UseState(dir *statedir.Dir) { p.options.State = dir }

// OpenState opens the directory in which runs keep their account. log is told of files in it that are put aside.
func OpenState(path string, log *slog.Logger) (*statedir.Dir, error) {
	dir, err := statedir.Open(path, func(msg string, args ...any) { log.Warn(msg, args...) }) //nolint:sloglint // the directory words it
	if err != nil {
		return nil, fmt.Errorf("service.state: %w", err)
	}
	return dir, nil
}
