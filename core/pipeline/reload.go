package pipeline

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/namebook"
	"github.com/rtflow/pipelined/core/plan"
)

// RestartError is returned for a configuration that cannot take the place of the running one, because it changes what cannot change
// while the pipeline runs.
type RestartError struct {
	Changed []string // names of tables and keys: "service.state", "sessions.max"
}

func (e *RestartError) Error() string {
	return "a restart is needed for what has changed in " + strings.Join(e.Changed, ", ")
}

// errEnding is the error of a change that comes too late.
var errEnding = errors.New("the pipeline is stopping")

// Configuration says which configuration runs.
type Configuration struct {
	Files  []string  `json:"files"`
	Number int       `json:"number"` // of those that ran, the first is 1
	Since  time.Time `json:"since"`
	// Refused says why the last attempt to change it failed, and when; absent: none did since the last success.
	Refused   string    `json:"refused,omitempty"`
	RefusedAt time.Time `json:"refused_at,omitzero"`
	Refusals  int       `json:"refusals"` // attempts that failed, since the start
}

// Outcome is what a configuration that was taken over has changed.
type Outcome struct {
	Number  int             // of the configuration that runs
	Changes []config.Change // from the one before; none: it says the same, and the one before runs on
	Sinks   []string        // that run as the plan has them: those that are new, or have other options
	Gaps    []Gap           // of sources that were opened again, also if the configuration was not taken over
}

// attempts is how often hooks are built for a configuration, when names of rules are learned meanwhile.
const attempts = 5

// Reload makes the pipeline run another configuration. What it says the same stays as it is and is not touched: each hook whose table
// has not changed with what it remembers, each sink with its run. Packets are judged by one configuration, all of it: each worker takes
// it over between two batches, and decides packets that wait by the one that they came under. Sessions live on.
//
// A sink that is new gets the events from here on. One that is not in the chain any more delivers what its ring holds, within
// service.drain, and is closed; Reload does not wait for that. One with other options goes on where it has acknowledged; see
// [deliver.Delivery.Replace] and [replay.Ring.Resize]. A source that is new is opened before anything is changed; one that is not in the
// chain any more is closed when its workers have ended, which Reload waits for. One with other options is closed and opened with these, as the
// last that can fail: then it is opened as it was. If even that fails, it is away, see [Pipeline.Losses]: it is tried again, and a later Reload, also
// of the same configuration, opens it. A source whose worker makes no progress, or does not end in time, is not closed: nothing is changed.
// Everything is delivered, if the pipeline stops, while sources that are new are still being opened.
//
// next is a plan without a mistake. If it changes what cannot be changed, nothing is changed, and the error is a [RestartError]. If it
// changes nothing at all, the one that runs goes on, and the outcome has no changes. Safe for concurrent use.
func (pl *Pipeline) Reload(next *plan.Plan) (Outcome, error) {
	pl.reloading.Lock()
	defer pl.reloading.Unlock()
	running := pl.rules.Load()
	o := Outcome{Number: running.number, Changes: running.plan.File.RunningChanges(next.File)}
	if len(o.Changes) == 0 && slices.Equal(running.plan.File.Files, next.File.Files) && len(pl.readers.Load().away) == 0 {
		pl.accept()
		return o, nil
	}
	t := &transition{pl: pl, running: running, next: next, rezoned: !running.plan.SameZones(next)}
	if err := t.prepare(); err != nil {
		pl.Refuse(err)
		return Outcome{Number: running.number, Gaps: t.sources.gaps}, err
	}
	t.commit()
	pl.accept()
	o.Number, o.Gaps = t.set.number, t.sources.gaps
	for _, s := range t.sinks {
		if s.taken {
			o.Sinks = append(o.Sinks, s.to.Name)
		}
	}
	return o, nil
}

// accept forgets for the status that another configuration was refused.
func (pl *Pipeline) accept() {
	pl.refused.mu.Lock()
	defer pl.refused.mu.Unlock()
	pl.refused.why, pl.refused.at = "", time.Time{}
}

// Refuse notes for the status that another configuration was not taken over, such as one with mistakes. Safe for concurrent use.
func (pl *Pipeline) Refuse(err error) {
	pl.refused.mu.Lock()
	defer pl.refused.mu.Unlock()
	pl.refused.why, pl.refused.at = err.Error(), time.Now()
	pl.refused.n++
}

// transition is a change of the configuration. When it is prepared nothing of it can fail any more.
type transition struct {
	spools     spools // of new sinks
	pl         *Pipeline
	running    *ruleSet
	next       *plan.Plan
	set        *ruleSet
	generation uint32
	sinks      []sinkChange
	removed    []*output
	sources    sourceChange
	rezoned    bool  // the zone table is another one
	host       *host // follows the kernel for that; nil: nothing is followed
}

// prepare prepares the change to another configuration. Where it fails nothing has changed.
func (t *transition) prepare() (err error) {
	pl, running, next := t.pl, t.running, t.next
	if pl.ended.Load() {
		return errEnding
	}
	if changed := slices.Concat(pl.fixed(next), pl.renumbered(next), pl.untranslated(next)); len(changed) > 0 {
		return &RestartError{changed}
	}
	next.Follow(running.plan)
	held := false
	defer func() {
		if err != nil {
			if undone := t.undoSources(); undone != nil {
				err = fmt.Errorf("%w; %w", err, undone)
			}
			err = errors.Join(err, t.spools.close(), t.host.close())
			if held {
				pl.release()
			}
		}
	}()
	if err = t.prepareSinks(running.plan); err != nil {
		return err
	}
	if t.rezoned {
		t.host = pl.followHost(next)
	}
	capacity, err := t.prepareSources() // may take seconds, for which the pipeline may stop
	if err != nil {
		return err
	}
	if held = pl.hold(); !held {
		return errEnding
	}
	if err = t.buildRules(capacity); err != nil {
		return err
	}
	if err = pl.gate.AddZones(next.ZoneIDs()); err != nil { // those of zones that do not come harm nobody
		return err
	}
	if err = t.exchangeEarly(); err != nil {
		return err
	}
	if _, capacity = t.sources.last.workers(0); capacity > t.set.capacity { // a source has more queues than before
		if err = t.buildRules(capacity); err != nil {
			return err
		}
	}
	if err = t.sources.last.end(); err == nil {
		err = pl.gate.SetRates(next.File.Admission) // the last that can fail
	}
	if err != nil {
		pl.revive()
	}
	return err
}

// commit makes the change.
func (t *transition) commit() {
	pl := t.pl
	defer pl.release()
	t.commitSinks()
	// No record has a new id before its name is known.
	pl.gate.SetGeneration(t.generation)
	pl.sessions.SetTimeouts(t.next.File.Sessions.Timeouts)
	if t.rezoned {
		if f := pl.readers.Load().feed; f != nil {
			f.SetZones(t.next.Zones)
		}
		defer pl.follow(t.host)
	}
	workers, _ := t.sources.last.workers(0)
	rules := t.set.rules(workers == 1)
	for _, w := range t.sources.last.staying() {
		w.SetRules(rules)
	}
	pl.rules.Store(t.set)
	t.commitSources(rules)
	pl.stopRematching()
	if t.next.File.Sessions.Rematch {
		pl.rematch(t.set, rules)
	}
}

// buildRules builds the hooks of the configuration, with room for that many workers, and the generation of their names.
func (t *transition) buildRules(capacity int) (err error) {
	pl := t.pl
	for range attempts {
		from := pl.names.All()
		builder := hook.NextNames(from)
		t.set = pl.nextRules(t.running, t.next, max(t.running.capacity, capacity), builder)
		if t.generation, err = pl.names.Add(from, builder, t.next.Zones); !errors.Is(err, namebook.ErrLearned) {
			break
		}
	}
	return err
}

// nextRules returns the rules of a configuration that follows another one.
func (pl *Pipeline) nextRules(running *ruleSet, next *plan.Plan, capacity int, names *hook.NameBuilder) *ruleSet {
	set := &ruleSet{plan: next, number: running.number + 1, since: time.Now(), capacity: capacity}
	env := next.HookEnv(capacity, names)
	settled := pl.judges(running.judged) // those before will count nothing more
	// Otherwise hooks know other zones, or have no room for all workers.
	same := running.plan.SameZones(next) && running.capacity == capacity && running.plan.EgressByPrefix() == next.EgressByPrefix()
	for _, c := range next.File.Pipeline.Hooks {
		old := running.hook(c.Name)
		if same && old != nil && tableOf(running.plan.File.Pipeline.Hooks, c.Name).Equal(c.Section) {
			set.hooks = append(set.hooks, *old)
			continue
		}
		goesOn := old != nil && old.Plugin == c.Plugin
		if env.Former = nil; goesOn {
			env.Former = &old.Instance
		}
		h := runningHook{Hook: next.Hooks([]*config.Component{c}, env)[0]}
		if goesOn {
			former := old.Instance // a pointer into the list would keep the list, and with it all former ones
			if h.former, h.counted = old.former, old.counted; settled {
				h.former, h.counted = nil, old.before()
			}
			h.former = append(slices.Clone(h.former), &former)
		}
		set.hooks = append(set.hooks, h)
	}
	return set
}

// tableOf returns the table of the component of that name, nil if the chain has none.
func tableOf(chain []*config.Component, name string) *config.Section {
	i := slices.IndexFunc(chain, func(c *config.Component) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return chain[i].Section
}

// fixed returns what another configuration changes that cannot be changed while the pipeline runs.
func (pl *Pipeline) fixed(next *plan.Plan) (changed []string) {
	p := pl.now()
	now, then := p.File, next.File
	differ := func(name string, different bool) {
		if different {
			changed = append(changed, name)
		}
	}
	for _, key := range now.Service.Differs(&then.Service) {
		differ("service."+key, key != "drain" && !slices.Contains(pl.options.Changes, key))
	}
	differ("sessions.max", now.Sessions.Max != then.Sessions.Max)
	differ("sessions.separate", now.Sessions.Separate != then.Sessions.Separate)
	differ("sessions.adopt", now.Sessions.Adopt != then.Sessions.Adopt)
	// A capture looks its interfaces up as it finds them. Where zones tell sessions apart, those that live would not be found in another.
	moved := now.Sessions.Separate == then.Sessions.Separate && !reflect.DeepEqual(zoning(p), zoning(next))
	differ("zones", !p.Live && !p.SameZones(next) || moved)
	differ("pipeline.sources", p.Live != next.Live || !p.Live && !slices.EqualFunc(p.Sources, next.Sources, sameSource))
	for _, c := range now.Pipeline.Sources {
		if other := tableOf(then.Pipeline.Sources, c.Name); other != nil {
			differ("sources."+c.Name, !p.Live && !c.Section.Equal(other))
		}
	}
	for _, s := range p.Sinks {
		if i := slices.IndexFunc(next.Sinks, func(other plan.Sink) bool { return other.Name == s.Name }); i >= 0 {
			differ("sinks."+s.Name+".spool", !reflect.DeepEqual(s.Spool, next.Sinks[i].Spool))
		}
	}
	return changed
}

// untranslated returns the sources of another configuration whose sessions somebody is to be asked about, if the table of sessions has no room
// for the answers.
func (pl *Pipeline) untranslated(next *plan.Plan) (names []string) {
	for _, s := range next.Sources {
		if s.Translator != nil && pl.translated == nil {
			names = append(names, "sources."+s.Name+".nat")
		}
	}
	return names
}

// Configuration says which configuration runs. Safe for concurrent use.
func (pl *Pipeline) Configuration() Configuration {
	r := pl.rules.Load()
	pl.refused.mu.Lock()
	defer pl.refused.mu.Unlock()
	return Configuration{
		Files: r.plan.File.Files, Number: r.number, Since: r.since, Refused: pl.refused.why, RefusedAt: pl.refused.at, Refusals: pl.refused.n,
	}
}

// unhit returns the policies that no packet has hit, by hook, of hooks that some packet has hit. Only who permits sessions has policies.
func (pl *Pipeline) unhit(counters map[string][]hook.Counter) map[string][]string {
	names := make(map[string][]string)
	hooks := pl.rules.Load().hooks
	for i := range hooks {
		if !hooks[i].Permits {
			continue
		}
		var none []string
		list := counters[hooks[i].Name]
		for _, c := range list {
			if c.Packets == 0 {
				none = append(none, c.Name)
			}
		}
		if len(none) > 0 && len(none) < len(list) {
			names[hooks[i].Name] = none
		}
	}
	return names
}

// hookCounters returns the counters of all hooks by name.
func (pl *Pipeline) hookCounters() map[string][]hook.Counter {
	counters := make(map[string][]hook.Counter)
	hooks := pl.rules.Load().hooks
	for i := range hooks {
		if list := hooks[i].counters(); list != nil {
			counters[hooks[i].Name] = list
		}
	}
	return counters
}
