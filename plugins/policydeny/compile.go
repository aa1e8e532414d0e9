package policydeny

import (
	"slices"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// maxPolicies is how many policies one hook takes. It bounds what a mistaken generator of configurations can cost.
const maxPolicies = 1 << 20

// Names of the default decision in records and counters.
const (
	defaultDeny   = "default-deny"
	defaultPermit = "default-permit"
)

// compiler turns options into an engine. It records every mistake in cfg and goes on.
type compiler struct {
	cfg    sdk.Config
	env    hook.Env
	book   *book
	apps   *application.Table
	known  []string       // names of applications, sorted
	zones  []string       // names of zones, sorted
	names  map[string]int // of policies, to their index in the file
	engine *engine
}

// compile returns the engine for the options. It must not be used if a mistake was recorded in cfg.
func compile(o *options, cfg *trackedConfig, env hook.Env) *engine {
	c := &compiler{
		cfg:   cfg,
		env:   env,
		book:  newBook(o.Addresses, cfg),
		apps:  applications(o.Applications, cfg, env),
		zones: env.Zones.ZoneNames(),
		names: make(map[string]int, len(o.Policies)),
	}
	c.known = c.apps.Known()
	c.engine = &engine{apps: c.apps, zones: env.Zones, workers: make([]worker, env.Workers)}
	if len(o.Policies) > maxPolicies {
		cfg.Errorf("policy", "%d policies, at most %d", len(o.Policies), maxPolicies)
		return c.engine
	}
	names := make([]string, 0, len(o.Policies)+1)
	c.engine.policies = make([]policy, 0, len(o.Policies))
	c.engine.decisions = make([]decision, 0, len(o.Policies)+1)
	for i := range o.Policies {
		c.policy(&o.Policies[i], i)
		if o.Policies[i].enabled() {
			names = append(names, o.Policies[i].Name)
		}
	}
	if !cfg.mistaken {
		warnShadowed(cfg, c.engine.policies)
		c.warnUnused(o)
		c.warnElsewhere(o)
		if env.EgressByPrefix {
			c.warnNoPrefixes(o)
		}
		if len(o.Policies) == 0 && o.Default == thenDeny {
			cfg.Warnf("policy", "there is none: every session is denied; write default = \"permit\" to log sessions and deny none")
		}
	}
	d := c.defaultDecision(o)
	c.addDecision(d.decision, d.name)
	c.engine.tally = hook.NewTally(env.Workers, append(names, d.name))
	if c.engine.index = newIndex(c.engine.policies, c.engine.decisions); c.engine.index == nil {
		cfg.Errorf("policy", "too many applications with ranges of ports that overlap")
		return c.engine
	}
	for i := range c.engine.workers {
		c.engine.workers[i].scratch = c.engine.index.newScratch()
	}
	return c.engine
}

// applications returns the table with the user's applications in it.
func applications(defs map[string]application.Definition, cfg sdk.Config, env hook.Env) *application.Table {
	table, problems := env.Apps.With(defs)
	for _, p := range problems {
		key := keypath.Join("applications", p.Name)
		if p.Key != "" {
			key += "." + p.Key
		}
		if p.Unknown != "" {
			cfg.Errorf(key, "%s%s", p.Text, spelling.Suggest(p.Unknown, p.Valid))
		} else {
			cfg.Errorf(key, "%s", p.Text)
		}
	}
	return table
}

// policyKey is the key of a policy, or of one of its options. It is made a path when there is something to say of it.
type policyKey struct {
	policy int
	name   string // of the option, "" for the policy itself
}

func (k policyKey) option(name string) policyKey { return policyKey{k.policy, name} }

func (k policyKey) String() string {
	key := keypath.Element("policy", k.policy)
	if k.name == "" {
		return key
	}
	return keypath.Join(key, k.name)
}

// element returns the path of an element of the option.
func (k policyKey) element(i int) string { return keypath.Element(k.String(), i) }

// namedDecision is a decision and its name in counters.
type namedDecision struct {
	decision
	name string
}

func (c *compiler) defaultDecision(o *options) namedDecision {
	d := namedDecision{decision{action: event.ActionDeny, noOpen: !o.LogDefault}, defaultDeny}
	switch o.Default {
	case thenDeny:
	case thenPermit:
		d = namedDecision{decision{action: event.ActionPermit, noOpen: !o.LogDefault, noClose: !o.LogDefault}, defaultPermit}
	default:
		c.cfg.Errorf("default", "%q is not a default%s", o.Default, spelling.Suggest(o.Default, []string{thenDeny, thenPermit}))
	}
	return d
}

// addDecision adds a decision to the engine, under a name for records.
func (c *compiler) addDecision(d decision, name string) {
	c.engine.ids = append(c.engine.ids, c.env.Names.Policy(name))
	c.engine.decisions = append(c.engine.decisions, d)
}

// nameInRecords returns the name of a policy as devices print it: one from any zone to any zone is told apart.
func nameInRecords(name string, from, to []uint16) string {
	if from == nil && to == nil {
		return name + "(global)"
	}
	return name
}

// policy checks the policy at that index of the file, and adds it to the engine if it is enabled. A disabled policy is
// checked all the same.
func (c *compiler) policy(s *policyOptions, index int) {
	key := policyKey{index, ""}
	c.name(s.Name, key)
	p := policy{
		name:     s.Name,
		position: index,
		from:     c.zoneList(s.From, key.option("from")),
		to:       c.zoneList(s.To, key.option("to")),
		src:      c.addresses(s.Source, s.SourceExcluded, key.option("source")),
		dst:      c.addresses(s.Destination, s.DestinationExcluded, key.option("destination")),
	}
	c.terms(&p, s.Application, key.option("application"))
	c.disjoint(&p, key)
	d := c.decision(s, key)
	if !s.enabled() {
		return
	}
	d.inheritTimeout(p.terms)
	c.engine.policies = append(c.engine.policies, p)
	c.addDecision(d, nameInRecords(s.Name, p.from, p.to))
}

// name checks a policy's name. It must be the only one of that name: the name is all that a record says of it.
func (c *compiler) name(name string, key policyKey) {
	key = key.option("name")
	switch first, taken := c.names[name]; {
	case name == "":
		c.cfg.Errorf(key.String(), "a policy needs a name")
		return
	case name == defaultDeny, name == defaultPermit:
		c.cfg.Errorf(key.String(), "%q is what records call the default, which is logged already; choose another name", name)
	case taken:
		c.cfg.Errorf(key.String(), "policy[%d] is called %q already", first, name)
		return
	}
	c.names[name] = key.policy
}

// zoneList returns the ids of the zones in the list, nil for any. A list with a mistake is not nil.
func (c *compiler) zoneList(list []string, key policyKey) []uint16 {
	if len(list) == 0 {
		c.cfg.Errorf(key.String(), "a policy needs a zone, a list of zones or \"any\" here")
		return []uint16{}
	}
	if slices.Equal(list, []string{wordAny}) {
		return nil
	}
	ids := make([]uint16, 0, len(list))
	for i, name := range list {
		if name == wordAny {
			c.cfg.Errorf(key.element(i), "\"any\" stands alone")
			continue
		}
		id, ok := c.env.Zones.Lookup(name)
		if !ok {
			c.cfg.Errorf(key.element(i), "%s", spelling.Unknown("zone", name, c.zones))
			continue
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// addresses returns one side of a policy.
func (c *compiler) addresses(list []string, excluded bool, key policyKey) side {
	sets := c.book.list(list, key)
	if excluded && list == nil {
		c.cfg.Errorf(key.String()+"-excluded", "there is no list of addresses to exclude")
		excluded = false
	}
	s := newSide(sets, excluded)
	if excluded && s.families == 0 && union(sets).families != 0 {
		c.cfg.Errorf(key.String()+"-excluded", "nothing is left when every address is excluded")
	}
	return s
}

// disjoint records a policy that can match no packet because its sides have no family in common. Sides that are empty
// have their own mistake already.
func (c *compiler) disjoint(p *policy, key policyKey) {
	if p.src.families != 0 && p.dst.families != 0 && p.src.families&p.dst.families == 0 {
		c.cfg.Errorf(key.String(), "source and destination have no address family in common: the policy matches nothing")
	}
}

// terms sets the applications of a policy and their terms.
func (c *compiler) terms(p *policy, list []string, key policyKey) {
	if list == nil || slices.Equal(list, []string{wordAny}) {
		return
	}
	if len(list) == 0 {
		c.cfg.Errorf(key.String(), "an empty list matches nothing; leave the key out or write \"any\" for every application")
	}
	p.applications, p.terms = []string{}, []application.Term{}
	for i, name := range list {
		if name == wordAny {
			c.cfg.Errorf(key.element(i), "\"any\" stands alone")
			continue
		}
		terms, ok := c.apps.Resolve(name)
		if !ok {
			c.cfg.Errorf(key.element(i), "no application or set is called %q%s", name, spelling.Suggest(name, c.known))
			continue
		}
		p.applications = append(p.applications, name)
		p.terms = append(p.terms, terms...)
		p.termCounts = append(p.termCounts, len(terms))
	}
}

// decision returns what the policy decides and logs.
func (c *compiler) decision(s *policyOptions, key policyKey) decision {
	opens, closes := c.log(s.Log, key.option("log"))
	switch s.Then {
	case thenPermit:
		return decision{
			action: event.ActionPermit, noOpen: !opens, noClose: !closes, timeout: uint32(s.Timeout),
		}
	case thenDeny, thenReject:
		if s.Timeout != 0 {
			c.cfg.Errorf(key.option("timeout").String(), "a policy that does not permit has no session and no timeout")
		}
		if closes && !opens {
			c.cfg.Errorf(key.option("log").String(), "a policy that does not permit has no session to close; write %q to log its denials", logInit)
		}
		d := decision{action: event.ActionDeny, noOpen: !opens}
		if s.Then == thenReject {
			d.action = event.ActionReject
		}
		return d
	case "":
		c.cfg.Errorf(key.option("then").String(), "a policy needs an action: %q, %q or %q", thenPermit, thenDeny, thenReject)
	default:
		c.cfg.Errorf(key.option("then").String(), "%q is not an action%s", s.Then, spelling.Suggest(s.Then, []string{thenPermit, thenDeny, thenReject}))
	}
	return decision{}
}

// log returns which ends of a session are logged: both if the key is absent.
func (c *compiler) log(list []string, key policyKey) (opens, closes bool) {
	if list == nil {
		return true, true
	}
	for i, word := range list {
		switch word {
		case logInit:
			opens = true
		case logClose:
			closes = true
		default:
			c.cfg.Errorf(key.element(i), "%q is nothing to log%s", word, spelling.Suggest(word, []string{logInit, logClose}))
		}
	}
	return opens, closes
}
