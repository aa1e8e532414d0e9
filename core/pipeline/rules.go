package pipeline

import (
	"slices"
	"time"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/worker"
)

// ruleSet is what packets are judged by, one generation of it: the hooks, and what the configuration says beside them.
type ruleSet struct {
	plan     *plan.Plan
	number   int // of configurations that ran, from 1
	since    time.Time
	hooks    []runningHook
	capacity int           // for how many workers they have room
	judged   *worker.Rules // what workers have of it
}

// runningHook is a hook, and what hooks of its name have counted before it.
type runningHook struct {
	plan.Hook
	// former are the hooks in whose place it came that may still judge packets which came under them, the last one behind the others.
	former  []*hook.Instance
	counted map[string]hook.Counter // by those before, or in earlier runs
}

// counters returns the counters of a hook. Those of its name before it are in them, as far as it has counters of that name.
func (h *runningHook) counters() []hook.Counter {
	if h.Counters == nil {
		return nil
	}
	list := h.Counters()
	if len(h.former) == 0 && len(h.counted) == 0 {
		return list
	}
	before := h.before()
	for i := range list {
		c := before[list[i].Name]
		list[i].Packets += c.Packets
		list[i].Bytes += c.Bytes
	}
	return list
}

// before returns what hooks of the name have counted until this one came.
func (h *runningHook) before() map[string]hook.Counter {
	sum := make(map[string]hook.Counter, len(h.counted))
	add := func(c hook.Counter) {
		s := sum[c.Name]
		sum[c.Name] = hook.Counter{Name: c.Name, Packets: s.Packets + c.Packets, Bytes: s.Bytes + c.Bytes}
	}
	for _, c := range h.counted {
		add(c)
	}
	for _, former := range h.former {
		if former.Counters == nil {
			continue
		}
		for _, c := range former.Counters() {
			add(c)
		}
	}
	return sum
}

// observe lets an observer see what the hooks judge.
func (r *ruleSet) observe(o Observer) {
	for i := range r.hooks {
		r.hooks[i].Instance = o.Hook(r.hooks[i].Name, r.hooks[i].Instance)
	}
	r.hooks = slices.Concat([]runningHook{{Hook: plan.Hook{Instance: o.Before()}}}, r.hooks, []runningHook{{Hook: plan.Hook{Instance: o.After()}}})
}

// rules returns what workers judge packets by from here on. alone says that there is one worker.
func (r *ruleSet) rules(alone bool) *worker.Rules {
	w := &worker.Rules{Zones: r.plan.Zones, SynCheck: r.plan.File.Sessions.SynCheck, Unlogged: !r.plan.LogsSessions(), Alone: alone}
	for _, h := range r.hooks {
		if h.Ingress != nil {
			w.Ingress = append(w.Ingress, h.Ingress)
		}
		if h.Session != nil {
			w.Session = append(w.Session, h.Session)
		}
		if h.Egress != nil {
			w.Egress = append(w.Egress, h.Egress)
		}
	}
	r.judged = w
	return w
}

// hook returns the hook of that name, nil if there is none.
func (r *ruleSet) hook(name string) *runningHook {
	i := slices.IndexFunc(r.hooks, func(h runningHook) bool { return h.Name == name })
	if i < 0 {
		return nil
	}
	return &r.hooks[i]
}

// now returns the plan of the configuration that runs. Safe for concurrent use.
func (pl *Pipeline) now() *plan.Plan { return pl.rules.Load().plan }

// Hostname returns the one of the configuration that runs. Safe for concurrent use.
func (pl *Pipeline) Hostname() string { return pl.now().Hostname }
