package pipeline

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
)

// RestartError is returned for a configuration that cannot take the place of the running one, because it changes what cannot change
// while the pipeline runs.
type RestartError struct {
	Changed []string // names of tables and keys: "sinks.siem", "sessions.max"
}

func (e *RestartError) Error() string {
	return "a restart is needed for what has changed in " + strings.Join(e.Changed, ", ")
}

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

// attempts is how often hooks are built for a configuration, when names of rules are learned meanwhile.
const attempts = 5

// Reload makes the pipeline judge packets by another configuration: its hooks, the rates of [admission], the timeouts, syn_check and
// log of [sessions]. Each worker takes it over between two batches, and decides packets that wait by the configuration that they came
// under. Hooks whose tables have not changed stay as they are, with what they remember; of others the counters go on. Sessions live on.
//
// next is a plan without a mistake. If it changes anything else, nothing is changed, and the error is a [RestartError]. If it changes
// nothing at all, the one that runs goes on, and Reload reports that nothing has changed. Safe for concurrent use.
func (pl *Pipeline) Reload(next *Plan) (changed bool, err error) {
	pl.reloading.Lock()
	defer pl.reloading.Unlock()
	if pl.rules.Load().plan.same(next) {
		pl.accept()
		return false, nil
	}
	if err := pl.reload(next); err != nil {
		pl.Refuse(err)
		return false, err
	}
	return true, nil
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

func (pl *Pipeline) reload(next *Plan) error {
	running := pl.rules.Load()
	if changed := running.plan.fixed(next); len(changed) > 0 {
		return &RestartError{changed}
	}
	// The zones are the same: what hooks, names and sources know of them is in the table that runs.
	next.zones, next.apps, next.checked = running.plan.zones, running.plan.apps, nil
	set, generation, err := pl.buildRules(running, next)
	if err != nil {
		return err
	}
	if err := pl.gate.SetRates(next.file.Admission); err != nil {
		return err
	}
	// No record has a new id before its name is known.
	pl.gate.SetGeneration(generation)
	pl.sessions.SetTimeouts(next.file.Sessions.Timeouts)
	rules := set.rules()
	for _, w := range pl.workers {
		w.SetRules(rules)
	}
	pl.rules.Store(set)
	pl.accept()
	return nil
}

// buildRules builds the hooks of a configuration that follows another one, and the generation of their names.
func (pl *Pipeline) buildRules(running *ruleSet, next *Plan) (set *ruleSet, generation uint32, err error) {
	for range attempts {
		from := pl.names.all()
		builder := hook.NextNames(from)
		set = pl.follow(running, next, builder)
		if generation, err = pl.names.add(from, builder); !errors.Is(err, errLearned) {
			break
		}
	}
	return set, generation, err
}

// follow returns the rules of a configuration that follows another one.
func (pl *Pipeline) follow(running *ruleSet, next *Plan, names *hook.NameBuilder) *ruleSet {
	set := &ruleSet{plan: next, number: running.number + 1, since: time.Now()}
	env := next.hookEnv(max(len(pl.workers), 1), names)
	for _, c := range next.file.Pipeline.Hooks {
		old := running.hook(c.Name)
		if old != nil && running.plan.hookTable(c.Name).Equal(c.Section) {
			set.hooks = append(set.hooks, *old)
			continue
		}
		h := runningHook{namedHook: next.hooks([]*config.Component{c}, env)[0]}
		if old != nil && old.plugin == h.plugin {
			former := old.Instance // a pointer into the list would keep the list, and with it all former ones
			h.former, h.counted = &former, old.before()
		}
		set.hooks = append(set.hooks, h)
	}
	return set
}

// hookTable returns the table of a chained hook.
func (p *Plan) hookTable(name string) *config.Section { return tableOf(p.file.Pipeline.Hooks, name) }

func tableOf(chain []*config.Component, name string) *config.Section {
	i := slices.IndexFunc(chain, func(c *config.Component) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return chain[i].Section
}

// same reports whether another configuration says the same of all that runs.
func (p *Plan) same(next *Plan) bool {
	now, then := p.file, next.file
	return len(p.fixed(next)) == 0 && reflect.DeepEqual(now.Files, then.Files) && reflect.DeepEqual(now.Admission, then.Admission) &&
		reflect.DeepEqual(now.Sessions, then.Sessions) && slices.EqualFunc(now.Pipeline.Hooks, then.Pipeline.Hooks, func(a, b *config.Component) bool {
		return a.Name == b.Name && a.Section.Equal(b.Section)
	})
}

// fixed returns what another configuration changes that cannot be changed while the pipeline runs.
func (p *Plan) fixed(next *Plan) (changed []string) {
	now, then := p.file, next.file
	differ := func(name string, different bool) {
		if different {
			changed = append(changed, name)
		}
	}
	differ("node", now.Node != then.Node)
	differ("service", !reflect.DeepEqual(now.Service, then.Service))
	differ("pipeline.zones_by_route", now.Pipeline.ZonesByRoute != then.Pipeline.ZonesByRoute)
	differ("sessions.max", now.Sessions.Max != then.Sessions.Max)
	differ("sessions.separate", now.Sessions.Separate != then.Sessions.Separate)
	differ("sessions.adopt", now.Sessions.Adopt != then.Sessions.Adopt)
	differ("zones", !reflect.DeepEqual(now.Zones, then.Zones))
	differ("replay", now.Replay != then.Replay)
	for _, of := range []struct {
		many      string
		now, then []*config.Component
	}{{"sources", now.Pipeline.Sources, then.Pipeline.Sources}, {"sinks", now.Pipeline.Sinks, then.Pipeline.Sinks}} {
		differ("pipeline."+of.many, !slices.EqualFunc(of.now, of.then, func(a, b *config.Component) bool { return a.Name == b.Name }))
		for _, c := range of.now {
			if other := tableOf(of.then, c.Name); other != nil {
				differ(of.many+"."+c.Name, !c.Section.Equal(other))
			}
		}
	}
	return changed
}

// Configuration says which configuration runs. Safe for concurrent use.
func (pl *Pipeline) Configuration() Configuration {
	r := pl.rules.Load()
	pl.refused.mu.Lock()
	defer pl.refused.mu.Unlock()
	return Configuration{
		Files: r.plan.file.Files, Number: r.number, Since: r.since, Refused: pl.refused.why, RefusedAt: pl.refused.at, Refusals: pl.refused.n,
	}
}

// hookCounters returns the counters of all hooks by name.
func (pl *Pipeline) hookCounters() map[string][]hook.Counter {
	counters := make(map[string][]hook.Counter)
	hooks := pl.rules.Load().hooks
	for i := range hooks {
		if list := hooks[i].counters(); list != nil {
			counters[hooks[i].name] = list
		}
	}
	return counters
}
