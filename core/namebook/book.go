package namebook

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/kept"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	// MaxLearned is how many names of rules a book learns, policies and filters together.
	MaxLearned = 1 << 13
	// maxNames is how many names of policies, and of filters, a book holds, those of earlier generations among them.
	maxNames = 1 << 21
)

// ErrLearned is the error of [Book.Add] if names were learned meanwhile: what was built from the former ones is to be built again.
var ErrLearned = errors.New("names were learned meanwhile")

// Book holds the names of a pipeline. Its methods are safe for concurrent use.
type Book struct {
	former []kept.Names // of the earlier runs that records in the rings come from; does not change

	mu          sync.Mutex
	full        func()            // is called when nothing more is learned; nil: it was
	policies    map[string]uint32 // what was learned
	filters     map[string]uint32
	next        event.Names // with what is not published yet
	first       uint32      // generation
	generations []kept.Known
}

// New returns a book that begins with the names of a configuration, and knows those of earlier runs that records may come from. full is
// called once, by who wants to learn a name for which there is no room; nil: nobody is told.
func New(n *event.Names, former []kept.Names, full func()) *Book {
	return &Book{
		former: former, full: full,
		policies: make(map[string]uint32), filters: make(map[string]uint32), next: *n, first: n.Generation,
		generations: []kept.Known{{Policies: len(n.Policies), Filters: len(n.Filters)}},
	}
}

// learns reports whether one more name is learned. The lock is held.
func (b *Book) learns() bool {
	if len(b.policies)+len(b.filters) < MaxLearned {
		return true
	}
	if b.full != nil {
		b.full()
		b.full = nil
	}
	return false
}

// Policy returns the id of a policy of another firewall, which it learns; 0 if there is no room.
func (b *Book) Policy(name string) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, ok := b.policies[name]
	if !ok && b.learns() {
		id = uint32(len(b.next.Policies))
		b.next.Policies = append(b.next.Policies, name)
		b.policies[name] = id
	}
	return id
}

// Filter returns the id of a filter of another firewall, which it learns; 0 if there is no room.
func (b *Book) Filter(name string) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, ok := b.filters[name]
	if !ok && b.learns() {
		id = uint32(len(b.next.Filters))
		b.next.Filters = append(b.next.Filters, event.Filter{Name: name, Terms: []string{name}})
		b.filters[name] = id
	}
	return id
}

// Publish returns the newest generation, which knows every name that was learned.
func (b *Book) Publish() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.generations[len(b.generations)-1] == b.known() {
		return b.newest()
	}
	return b.publish()
}

// known returns how many names there are. The lock is held.
func (b *Book) known() kept.Known {
	return kept.Known{Policies: len(b.next.Policies), Filters: len(b.next.Filters)}
}

// publish makes a generation of what is there. The lock is held.
func (b *Book) publish() uint32 {
	b.generations = append(b.generations, b.known())
	return b.newest()
}

// newest returns the newest generation. The lock is held.
func (b *Book) newest() uint32 { return b.first + uint32(len(b.generations)) - 1 }

// All returns every name that there is, for a builder of the next generation.
func (b *Book) All() *event.Names {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.next
	return &n
}

// Add makes a generation of what a builder has made of from, which [Book.All] has returned. It fails with [ErrLearned] if names were learned
// since. zones are the zones and interfaces of the generation: their ids are those that they had, or new.
func (b *Book) Add(from *event.Names, built *hook.NameBuilder, zones *zone.Table) (generation uint32, err error) {
	var n event.Names
	built.Fill(&n)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(from.Policies) != len(b.next.Policies) || len(from.Filters) != len(b.next.Filters):
		return 0, ErrLearned
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

// Zone returns the name of a zone, also of one that is not configured any more.
func (b *Book) Zone(id uint16) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next.Zone(id)
}

// ZoneIDs returns the ids of all zones that there are or were, by name.
func (b *Book) ZoneIDs() map[string]uint16 {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make(map[string]uint16, len(b.next.Zones))
	for id, name := range b.next.Zones {
		ids[name] = id
	}
	return ids
}

// Of returns the names of a generation, of the first one if there is no such generation.
func (b *Book) Of(generation uint32) *event.Names {
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
func (b *Book) own() kept.Names {
	return kept.Names{
		First: b.first, Generations: b.generations, Zones: b.next.Zones, Policies: b.next.Policies, Filters: b.next.Filters,
		Interfaces: b.next.Interfaces, Apps: b.next.Applications,
	}
}

// Keep returns the names that the next run needs: of the runs that have generations among those in records, and of this one, the last.
func (b *Book) Keep(generations map[uint32]bool) (list []kept.Names) {
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

// Latest returns the newest generation.
func (b *Book) Latest() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.newest()
}
