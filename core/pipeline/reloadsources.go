package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/sdk/event"
)

// Gap says for how long a source, or what it reads, was not read: from the end of the former workers to the start of others.
type Gap struct {
	Source string
	Length time.Duration
}

// sourceChange is what becomes of the sources of another configuration. Those that are new are opened before anything is changed, but for
// the late ones: they have other options, or read what one reads that is to be closed, which is therefore closed before that. Pairs of a
// bridge are closed, and opened, together.
type sourceChange struct {
	before *readers
	early  []*openSource // that are closed before late ones are opened
	late   []*plan.Source
	gone   []*awaySource // early ones, when they are closed
	opened []*openSource // of the configuration, and not read yet
	kept   []*awaySource // what these told of before they go on with
	last   *exchange     // to the sources of the configuration
	gaps   []Gap
}

// sameSource reports whether two sources have one name.
func sameSource(a, b plan.Source) bool { return a.Name == b.Name }

// named returns the source of a name.
func named[S interface{ SourceName() string }](list []S, name string) (s S, ok bool) {
	i := slices.IndexFunc(list, func(s S) bool { return s.SourceName() == name })
	if i < 0 {
		return s, false
	}
	return list[i], true
}

// prepareSources opens the sources that are new, and finds out which ones are opened late. It returns for how many workers hooks must have
// room, as far as that is known.
func (t *transition) prepareSources() (capacity int, err error) {
	c := &t.sources
	c.before = t.pl.readers.Load()
	t.findLate()
	var list []*openSource
	more := 0
	for i := range t.next.Sources {
		s := &t.next.Sources[i]
		now, reads := named(c.before.sources, s.Name)
		switch {
		case slices.Contains(c.late, s) && reads:
			more += len(now.queues)
			continue
		case slices.Contains(c.late, s):
			continue
		case !reads:
			if now, err = t.open(s); err != nil {
				return 0, err
			}
		}
		list = append(list, now)
	}
	if err = pair(c.opened); err != nil {
		return 0, err
	}
	if err = t.examineLate(); err != nil {
		return 0, err
	}
	if c.last, err = t.pl.newExchange(list, nil, t.next.Zones); err != nil {
		return 0, err
	}
	_, capacity = c.last.workers(more)
	return capacity, c.last.awaitProgress(t.pl.untilStop())
}

// findLate finds out which sources are opened late, and which are closed before that.
func (t *transition) findLate() {
	c := &t.sources
	before := c.before
	same := func(name string) bool {
		return tableOf(t.running.plan.File.Pipeline.Sources, name).Equal(tableOf(t.next.File.Pipeline.Sources, name))
	}
	next := make([]*plan.Source, len(t.next.Sources))
	for i := range next {
		next[i] = &t.next.Sources[i]
	}
	closes := func(s *openSource) bool { // sooner or later
		_, stays := named(next, s.Name)
		return !stays || slices.Contains(c.early, s)
	}
	opens := func(s *plan.Source) bool {
		_, reads := named(before.sources, s.Name)
		return !reads || slices.Contains(c.late, s)
	}
	for grown := true; grown; {
		n := len(c.early) + len(c.late)
		for _, s := range before.sources {
			other, stays := named(next, s.Name)
			early := stays && (slices.Contains(c.late, other) || !same(s.Name))
			for _, o := range next {
				early = early || closes(s) && opens(o) && o.Name != s.Name && t.collide(&s.Source, o)
			}
			peer, paired := named(c.early, s.Peer)
			if early = early || paired && peer.Peer == s.Name; early && !slices.Contains(c.early, s) {
				c.early = append(c.early, s)
			}
		}
		for _, s := range next {
			_, closed := named(c.early, s.Name)
			_, paired := named(c.late, s.Peer)
			late := closed || paired
			for _, e := range c.early {
				late = late || opens(s) && t.collide(&e.Source, s)
			}
			if late && !slices.Contains(c.late, s) {
				c.late = append(c.late, s)
			}
		}
		grown = len(c.early)+len(c.late) > n
	}
}

// collide reports whether two sources read the same.
func (t *transition) collide(a, b *plan.Source) bool {
	if a.Sessions && b.Sessions {
		return true
	}
	for _, x := range a.Interfaces {
		for _, y := range b.Interfaces {
			if index := t.next.Zones.Index(x); x == y || index != 0 && index == t.next.Zones.Index(y) {
				return true
			}
		}
	}
	for _, x := range a.Exclusive {
		if slices.ContainsFunc(b.Exclusive, func(y source.Exclusive) bool { return x.What == y.What }) {
			return true
		}
	}
	return false
}

// examineLate returns an error if the machine lacks what a late source needs. What it lacks for those that are closed before that they have
// done without, unless they cannot read just now: they may wait for that, such as for an interface, and could not be opened.
func (t *transition) examineLate() error {
	m := machine.This()
	missing := func(s *plan.Source) (list []machine.Finding) {
		if s.Examine != nil {
			list = slices.DeleteFunc(s.Examine(m), func(f machine.Finding) bool { return f.Verdict != machine.Missing })
		}
		return list
	}
	same := func(a, b machine.Finding) bool { return a.Part == b.Part && a.Subject == b.Subject }
	var without []machine.Finding
	for _, s := range t.sources.early {
		if b, ok := s.opened.(source.Blind); ok && b.Blind() != nil {
			continue
		}
		without = append(without, missing(&s.Source)...)
	}
	for _, s := range t.sources.late {
		for _, f := range missing(s) {
			if !slices.ContainsFunc(without, func(w machine.Finding) bool { return same(f, w) }) {
				return fmt.Errorf("source %s: %s: %s", s.Name, f.Part, f.Text)
			}
		}
	}
	return nil
}

// open opens a source of the configuration. It goes on with what it has told of when it was open before.
func (t *transition) open(s *plan.Source) (*openSource, error) {
	c := &t.sources
	if t.pl.stops() {
		return nil, errEnding
	}
	opened, err := t.pl.open(t.pl.untilStop(), *s, t.next.Zones)
	if err != nil && t.pl.stops() {
		return nil, errEnding
	}
	if err != nil {
		return nil, err
	}
	c.opened = append(c.opened, opened)
	for _, former := range slices.Concat(c.gone, c.before.away) {
		if t.pl.goOn(opened, former) {
			c.kept = append(c.kept, former)
		}
	}
	return opened, nil
}

// goOn hands a source what one of its name and plugin has told of that is closed, and reports whether it goes on with that.
func (pl *Pipeline) goOn(s *openSource, former *awaySource) bool {
	if s.Name != former.Name || s.Plugin != former.Plugin {
		return false
	}
	from, ok := former.opened.(source.Keeper)
	to, also := s.opened.(source.Keeper)
	if !ok || !also {
		return false
	}
	err := to.TakeOver(func(yield func([]byte, error) bool) {
		from.Keep(func(piece []byte) bool { return yield(piece, nil) })
	}, sameIDs{})
	if err != nil {
		pl.log.Warn("what a source has known cannot be used: it begins anew", "source", s.Name, "err", err)
	}
	return err == nil
}

// sameIDs says that names have the ids that they had.
type sameIDs struct{}

// Zone implements [source.IDs].
func (sameIDs) Zone(id uint16) (uint16, bool) { return id, true }

// Policy implements [source.IDs].
func (sameIDs) Policy(id uint32) uint32 { return id }

// Interface implements [source.IDs].
func (sameIDs) Interface(id uint32) uint32 { return id }

// Application implements [source.IDs].
func (sameIDs) Application(id uint16) uint16 { return id }

// exchangeEarly closes early sources, and opens late ones.
func (t *transition) exchangeEarly() error {
	pl, c, plan := t.pl, &t.sources, t.running.plan
	if len(c.early) == 0 {
		return nil
	}
	staying := slices.DeleteFunc(slices.Clone(c.before.sources), func(s *openSource) bool { return slices.Contains(c.early, s) })
	var gone []*awaySource
	for _, s := range c.early {
		gone = append(gone, &awaySource{openSource: s, since: time.Now()})
	}
	x, err := pl.newExchange(staying, slices.Concat(c.before.away, gone), plan.Zones)
	if err != nil {
		return err
	}
	if err := x.end(); err != nil { // nothing is closed yet
		pl.revive()
		return err
	}
	c.gone = gone
	pl.exchange(x, t.running.judged, plan.Zones)
	early := len(c.opened)
	for _, s := range c.late {
		if _, err := t.open(s); err != nil {
			return err
		}
	}
	if err := pair(c.opened[early:]); err != nil {
		return err
	}
	var list []*openSource
	for i := range t.next.Sources {
		s, opened := named(c.opened, t.next.Sources[i].Name)
		if !opened {
			s, _ = named(staying, t.next.Sources[i].Name)
		}
		list = append(list, s)
	}
	c.last, err = pl.newExchange(list, nil, t.next.Zones)
	return err
}

// stops reports whether the workers of a pipeline that runs end.
func (pl *Pipeline) stops() bool { return pl.running.begun && pl.running.loops.ctx.Err() != nil }

// untilStop returns a context that ends when the workers of a pipeline that runs end.
func (pl *Pipeline) untilStop() context.Context {
	if pl.running.begun {
		return pl.running.loops.ctx
	}
	return context.Background()
}

// undoSources closes the sources that were opened, and opens those that were closed. A pipeline that stops opens none: what they have told
// of is kept for the next run.
func (t *transition) undoSources() error {
	pl, c := t.pl, &t.sources
	var errs []error
	for _, s := range c.opened {
		errs = append(errs, s.close())
	}
	if len(c.gone) == 0 || pl.stops() {
		return errors.Join(errs...)
	}
	back, kept, away := pl.openAgain(c.gone, t.running.plan.Zones)
	away, err := pl.readAgain(c.gone, back, slices.Concat(c.before.away, away))
	errs = append(errs, err)
	for _, s := range c.gone {
		gap := time.Since(s.since)
		if still, is := named(away, s.Name); is {
			errs = append(errs, fmt.Errorf("nor can it be opened as it was, and it is not read: %w", still.err))
			pl.log.Error("a source cannot be opened as it was, and is not read; "+still.hope(), "source", s.Name, "err", still.err, "gap", gap) //nolint:sloglint // one of two sentences
			continue
		}
		c.gaps = append(c.gaps, Gap{s.Name, gap})
		pl.log.Warn("a source is open again as it was", "source", s.Name, "gap", gap)
		if !slices.Contains(kept, s) {
			t.tellUntold(s.openSource)
		}
	}
	pl.awaitAway()
	return errors.Join(errs...)
}

// commitSources lets sources that are new be read, and closes those that are gone.
func (t *transition) commitSources(rules *worker.Rules) {
	pl, c := t.pl, &t.sources
	pl.exchange(c.last, rules, t.next.Zones)
	for _, s := range c.late {
		if _, away := named(c.before.away, s.Name); away { // for longer
			continue
		}
		gap := time.Since(c.gone[0].since)
		c.gaps = append(c.gaps, Gap{s.Name, gap})
		pl.log.Info("a source is open as it is configured now: what came meanwhile is not read", "source", s.Name, "gap", gap)
	}
	for _, s := range c.before.away {
		if opened, is := named(c.opened, s.Name); is {
			gap := time.Since(s.since)
			c.gaps = append(c.gaps, Gap{s.Name, gap})
			pl.log.Info("a source that could not be opened is open", "source", opened.Name, "gap", gap)
		}
	}
	for _, s := range c.last.closed {
		t.tellUntold(s)
	}
	for _, s := range slices.Concat(c.gone, c.before.away) {
		if !slices.Contains(c.kept, s) {
			t.tellUntold(s.openSource)
		}
	}
}

// tellUntold tells that the ends will not come of the sessions that a source has told of, which is closed. Sinks that are new were not told of
// them.
func (t *transition) tellUntold(s *openSource) {
	t.pl.tellUntold(s, func(out *output) bool {
		return slices.ContainsFunc(t.sinks, func(c sinkChange) bool { return c.new && c.out == out })
	})
}

// tellUntold tells all sinks but some that the ends will not come of the sessions that a source has told of, which is closed.
func (pl *Pipeline) tellUntold(s *openSource, but func(*output) bool) {
	keeper, ok := s.opened.(source.Keeper)
	if !ok {
		return
	}
	untold := keeper.Keep(func([]byte) bool { return true })
	if untold == 0 {
		return
	}
	pl.log.Warn("the ends of sessions that a source has told of will not come; a loss record says so", "source", s.Name, "sessions", untold)
	now := time.Now().UnixNano()
	owed := admission.Owed{Reason: event.LossAbandoned, Counts: event.LossCounts{event.SessionClose: untold}, Since: now, Until: now}
	for _, out := range pl.outputs.staying() {
		if !but(out) {
			pl.gate.Owe(out.index, owed)
		}
	}
}
