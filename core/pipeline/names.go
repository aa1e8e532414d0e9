package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/rtflow/pipelined/core/feed"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/kept"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

// Hostname returns the one of the configuration that runs. Safe for concurrent use.
func (pl *Pipeline) Hostname() string { return pl.now().Hostname }

const (
	// maxLearned is how many names of rules a book learns, policies and filters together.
	maxLearned = 1 << 13
	// maxNames is how many names of policies, and of filters, a book holds, those of earlier generations among them.
	maxNames = 1 << 21
)

// nameBook holds the names of the configuration, those of its earlier generations, and those of rules of another firewall that the
// feed has learned. Names are only ever added: what had an id in a record has it for ever. Its methods are safe for concurrent use.
type nameBook struct {
	former []kept.Names // of the earlier runs that records in the rings come from; does not change

	warn func() // called once, when there is no room for a name that is to be learned; may be nil

	mu          sync.Mutex
	policies    map[string]uint32 // what was learned
	filters     map[string]uint32
	next        event.Names // with what is not published yet
	first       uint32      // generation
	generations []kept.Known
}

var _ feed.Names = (*nameBook)(nil)

func newNameBook(n *event.Names, former []kept.Names) *nameBook {
	return &nameBook{
		former:   former,
		policies: make(map[string]uint32), filters: make(map[string]uint32), next: *n, first: n.Generation,
		generations: []kept.Known{{Policies: len(n.Policies), Filters: len(n.Filters)}},
	}
}

// full reports whether no more names are learned. The lock is held.
func (b *nameBook) full() bool {
	if len(b.policies)+len(b.filters) < maxLearned {
		return false
	}
	if b.warn != nil {
		b.warn()
		b.warn = nil
	}
	return true
}

// Policy implements [feed.Names].
func (b *nameBook) Policy(name string) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, ok := b.policies[name]
	if !ok && !b.full() {
		id = uint32(len(b.next.Policies))
		b.next.Policies = append(b.next.Policies, name)
		b.policies[name] = id
	}
	return id
}

// Filter implements [feed.Names].
func (b *nameBook) Filter(name string) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, ok := b.filters[name]
	if !ok && !b.full() {
		id = uint32(len(b.next.Filters))
		b.next.Filters = append(b.next.Filters, event.Filter{Name: name, Terms: []string{name}})
		b.filters[name] = id
	}
	return id
}

// Publish implements [feed.Names].
func (b *nameBook) Publish() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.generations[len(b.generations)-1] == b.known() {
		return b.newest()
	}
	return b.publish()
}

// known returns how many names there are. The lock is held.
func (b *nameBook) known() kept.Known {
	return kept.Known{Policies: len(b.next.Policies), Filters: len(b.next.Filters)}
}

// publish makes a generation of what is there. The lock is held.
func (b *nameBook) publish() uint32 {
	b.generations = append(b.generations, b.known())
	return b.newest()
}

// newest returns the newest generation. The lock is held.
func (b *nameBook) newest() uint32 { return b.first + uint32(len(b.generations)) - 1 }

// all returns every name that there is, for a builder of the next generation.
func (b *nameBook) all() *event.Names {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.next
	return &n
}

// add makes a generation of what a builder has made of from, which all has returned. It fails with [errLearned] if names were learned
// since. zones are the zones and interfaces of the generation: their ids are those that they had, or new.
func (b *nameBook) add(from *event.Names, built *hook.NameBuilder, zones *zone.Table) (generation uint32, err error) {
	var n event.Names
	built.Fill(&n)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(from.Policies) != len(b.next.Policies) || len(from.Filters) != len(b.next.Filters):
		return 0, errLearned
	case len(n.Policies) > maxNames || len(n.Filters) > maxNames:
		return 0, fmt.Errorf("more than %d names of policies or filters since the start: restart", maxNames)
	}
	built.Fill(&b.next)
	ids, interfaces := zones.NameMaps()
	b.next.Zones, b.next.Interfaces = joined(b.next.Zones, ids), joined(b.next.Interfaces, interfaces)
	return b.publish(), nil
}

// joined returns what is in either map, where they differ as the former has it.
func joined[ID comparable](former, more map[ID]string) map[ID]string {
	all := maps.Clone(more)
	maps.Copy(all, former)
	return all
}

// zone returns the name of a zone, also of one that is not configured any more.
func (b *nameBook) zone(id uint16) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next.Zone(id)
}

// zoneIDs returns the ids of all zones that there are or were, by name.
func (b *nameBook) zoneIDs() map[string]uint16 {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make(map[string]uint16, len(b.next.Zones))
	for id, name := range b.next.Zones {
		ids[name] = id
	}
	return ids
}

var errLearned = errors.New("names were learned meanwhile")

// names returns the names of a generation, of the first one if there is no such generation.
func (b *nameBook) names(generation uint32) *event.Names {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.own()
	if own.Has(generation) {
		return own.Of(generation)
	}
	for i := range b.former {
		if b.former[i].Has(generation) {
			return b.former[i].Of(generation)
		}
	}
	return own.Of(own.First)
}

// own returns the names of this run. The lock is held.
func (b *nameBook) own() kept.Names {
	return kept.Names{
		First: b.first, Generations: b.generations, Zones: b.next.Zones, Policies: b.next.Policies, Filters: b.next.Filters,
		Interfaces: b.next.Interfaces, Apps: b.next.Applications,
	}
}

// keep returns the names that the next run needs: of the runs that have generations among those in records, and of this one, the last.
func (b *nameBook) keep(generations map[uint32]bool) (list []kept.Names) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.former {
		for g := range generations {
			if b.former[i].Has(g) {
				list = append(list, b.former[i])
				break
			}
		}
	}
	return append(list, b.own())
}

// latest returns the newest generation.
func (b *nameBook) latest() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.newest()
}
