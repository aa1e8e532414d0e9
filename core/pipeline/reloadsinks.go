package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/replay"
)

// sinkChange is what becomes of a sink of another configuration.
type sinkChange struct {
	to    *plan.Sink
	out   *output // that runs, or a new one
	new   bool
	taken bool // the sink of the plan runs: it is new, or has other options
}

// prepareSinks finds out which sinks are new, have changed or are gone, and makes the new ones.
func (t *transition) prepareSinks(running *plan.Plan) error {
	pl := t.pl
	added := 0
	for i := range t.next.Sinks {
		s := &t.next.Sinks[i]
		if err := s.Replay.Check(); err != nil {
			return fmt.Errorf("sink %s: %w", s.Name, err)
		}
		if err := pl.awaitRemoved(s.Name); err != nil {
			return err
		}
		c := sinkChange{to: s, out: pl.outputs.find(s.Name)}
		if c.new = c.out == nil; c.new {
			added++
		}
		c.taken = c.new || sinkDiffers(running, t.next, s)
		t.sinks = append(t.sinks, c)
	}
	for _, out := range pl.outputs.staying() {
		if !slices.ContainsFunc(t.next.Sinks, func(s plan.Sink) bool { return s.Name == out.name }) {
			t.removed = append(t.removed, out)
		}
	}
	if added == 0 {
		return nil
	}
	opened := make(spools, len(t.sinks))
	for i := range t.sinks {
		if !t.sinks[i].new {
			continue
		}
		var err error
		if opened[i], err = pl.openSpool(t.sinks[i].to); err != nil {
			return errors.Join(err, opened.close())
		}
	}
	t.spools = opened
	epoch, err := pl.reserveEpochs(time.Now(), added)
	if err != nil {
		return err
	}
	for i := range t.sinks {
		c := &t.sinks[i]
		if !c.new {
			continue
		}
		ring, err := replay.New(c.to.Replay.Limits)
		if err != nil {
			return fmt.Errorf("sink %s: %w", c.to.Name, err)
		}
		c.out = pl.newOutput(c.to, ring, opened[i], epoch)
		epoch++
	}
	return nil
}

// Starts returns the names of the sinks of another plan that would be started if it were taken over. Safe for concurrent use.
func (pl *Pipeline) Starts(next *plan.Plan) (names []string) {
	running := pl.now()
	for i := range next.Sinks {
		if sinkDiffers(running, next, &next.Sinks[i]) {
			names = append(names, next.Sinks[i].Name)
		}
	}
	return names
}

// sinkDiffers reports whether a sink of another plan has other options than the one of its name that runs, beside what the core itself
// does for it.
func sinkDiffers(running, next *plan.Plan, s *plan.Sink) bool {
	i := slices.IndexFunc(running.Sinks, func(r plan.Sink) bool { return r.Name == s.Name })
	return i < 0 || !tableOf(running.File.Pipeline.Sinks, s.Name).EqualBut(tableOf(next.File.Pipeline.Sinks, s.Name), "only", "replay", "spool") ||
		running.Hostname != next.Hostname || running.Sinks[i].Replay.Window() != s.Replay.Window()
}

// commitSinks makes the changes of sinks.
func (t *transition) commitSinks() {
	pl, drain := t.pl, t.next.File.Service.Drain
	for _, out := range t.removed {
		pl.remove(out, drain)
	}
	for _, c := range t.sinks {
		if c.new {
			pl.add(c.out, c.to)
			continue
		}
		c.out.wants(c.to.Only)
		now, _ := c.out.ring.Limits()
		if c.out.spool != nil { // neither the sink that runs nor its successor has more in hand than it knows of
			c.out.spool.SetWindow(min(now.Slots, c.to.Replay.Slots))
		}
		if c.taken {
			c.out.plugin = c.to.Plugin
			c.out.delivery.Replace(c.to.Sink, drain)
		}
		pl.gate.Change(c.out.index, c.to.Only, c.to.Replay.Overflow)
		if c.out.spool != nil {
			c.out.spool.SetEvict(c.to.Replay.Overflow == replay.Evict)
			c.out.spool.SetWindow(c.to.Replay.Slots)
		}
		if now != c.to.Replay.Limits {
			_ = c.out.ring.Resize(c.to.Replay.Limits) // they were checked
		}
	}
}

// add gives the pipeline one more sink.
func (pl *Pipeline) add(out *output, s *plan.Sink) {
	out.index = pl.gate.Add(out.gateSink(s))
	for _, former := range pl.outputs.all() {
		if former.name == out.name {
			out.before, out.spooled = former.before, former.spooled
		}
	}
	pl.announceCarried(out, false)
	pl.outputs.put(out)
	if pl.running.begun {
		pl.start(out)
	}
}

// awaitRemoved waits until a sink of that name that is being removed is gone: two sinks of one name would have one account. A pipeline
// that stops does not wait for it.
func (pl *Pipeline) awaitRemoved(name string) error {
	for _, out := range pl.outputs.present() {
		if out.name != name || !out.life.leaves.Load() {
			continue
		}
		select {
		case <-out.life.gone:
		case <-pl.ending:
			return errEnding
		}
	}
	return nil
}
