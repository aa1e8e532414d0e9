package config

import (
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/spool"
	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk/event"
)

// Component is one [sources.NAME], [hooks.NAME] or [sinks.NAME].
type Component struct {
	Name    string
	Plugin  string   // which plugin it is; whether there is such a plugin is for the registry to say
	Section *Section // its whole table; the core's own keys in it are not unknown to Decode

	Only   event.KindSet  // sinks: the kinds it wants, default all; Loss is always among them
	Replay replay.Options // sinks: its ring, [replay] with the sink's own `replay` on top
	Spool  *spool.Options // sinks: its spool; nil: none
}

// family is one of the three sorts of components.
type family struct {
	one, many string   // "sink", "sinks"
	core      []string // keys of a component's table that the core reads itself
}

func sourceFamily() family { return family{"source", "sources", []string{"plugin"}} }
func hookFamily() family   { return family{"hook", "hooks", []string{"plugin"}} }
func sinkFamily() family {
	return family{"sink", "sinks", []string{"plugin", "only", "replay", "spool"}}
}

func families() []family { return []family{sourceFamily(), hookFamily(), sinkFamily()} }

// coreKeys returns the keys that the core reads in the tables of a family, none if there is no such family.
func coreKeys(many string) []string {
	for _, f := range families() {
		if f.many == many {
			return f.core
		}
	}
	return nil
}

// readComponents reads what all components have, in the order of the tables.
func readComponents(f family, tables []*Section) (list []*Component) {
	for _, s := range tables {
		s.core = f.core
		checkName(s)
		var o struct {
			Plugin string `toml:"plugin"`
		}
		s.decodeCore(&o)
		if o.Plugin == "" {
			s.Errorf("plugin", "missing: which plugin this %s is", f.one)
		}
		list = append(list, &Component{Name: s.name, Plugin: o.Plugin, Section: s, Only: event.AllKinds})
	}
	return list
}

// readSinks reads, besides that, what only sinks have. ring is that of a sink without a `replay` of its own.
func readSinks(tables []*Section, ring replay.Options) []*Component {
	list := readComponents(sinkFamily(), tables)
	for _, c := range list {
		s := c.Section
		var o struct {
			Only []string `toml:"only"`
		}
		s.decodeCore(&o)
		if s.Has("only") {
			c.Only = readOnly(s, o.Only)
		}
		c.Replay = ring
		if s.Has("replay") {
			if own := s.table("replay"); own != nil {
				c.Replay = ring.Override(own)
			}
		}
		if s.Has("spool") {
			if own := s.table("spool"); own != nil {
				o := spool.ReadOptions(own)
				c.Spool = &o
			}
		}
	}
	return list
}

// readOnly validates the kinds of events that a sink wants.
func readOnly(s *Section, names []string) event.KindSet {
	set := event.KindSet(0).With(event.Loss)
	if len(names) == 0 {
		s.Errorf("only", "empty: the sink would never get an event; remove the key for all kinds")
	}
	seen := make(map[string]bool)
	for i, name := range names {
		key := keypath.Element("only", i)
		kind, ok := event.ParseKind(name)
		switch {
		case seen[name]:
			s.Errorf(key, "%q is listed twice", spelling.Shorten(name))
		case !ok:
			s.Errorf(key, "unknown kind of event %q; %s", spelling.Shorten(name), s.doc.hint(name, "kinds", kindNames()))
		default:
			set = set.With(kind)
		}
		seen[name] = true
	}
	return set
}

func kindNames() []string {
	var names []string
	for _, k := range event.Kinds() {
		names = append(names, k.String())
	}
	return names
}

// maxName is the longest name of a component or zone, in bytes: as long as Junos allows.
const maxName = 63

// checkName holds the name of a component or zone against what metrics, log lines and command lines take.
func checkName(s *Section) {
	ok := s.name != "" && len(s.name) <= maxName
	for i := range len(s.name) {
		ok = ok && (keypath.Bare(s.name[i]) || s.name[i] == '.')
	}
	if !ok {
		s.Errorf("", "a name has 1 to %d of these: letters, digits, '-', '_' and '.'", maxName)
	}
}
