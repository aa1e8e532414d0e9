package pipeline

import (
	"sync"

	"github.com/rtflow/pipelined/core/feed"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk/event"
)

// Names returns the names for the ids that records of this configuration carry. It opens nothing.
func (p *Plan) Names() *event.Names {
	b := hook.NewNameBuilder()
	p.hooks(p.file.Pipeline.Hooks, p.hookEnv(1, b))
	return p.names(b)
}

func (p *Plan) names(b *hook.NameBuilder) *event.Names {
	n := &event.Names{Generation: generation, Applications: p.apps.Names()}
	n.Zones, n.Interfaces = p.zones.NameMaps()
	b.Fill(n)
	return n
}

// Hostname returns the name of this node in log lines.
func (p *Plan) Hostname() string { return p.host }

// maxLearned is how many names of rules a book learns, policies and filters together.
const maxLearned = 1 << 13

// nameBook holds the names of the configuration, and those of rules of another firewall that the feed has learned since. Names
// are only ever added, so that a generation that knows more of them is one more slice of the same arrays.
type nameBook struct {
	policies map[string]uint32 // what was learned; of the feed's goroutine
	filters  map[string]uint32
	next     event.Names // with what is not published yet

	mu          sync.Mutex
	generations []*event.Names // the first is that of the configuration
}

var _ feed.Names = (*nameBook)(nil)

func newNameBook(n *event.Names) *nameBook {
	return &nameBook{
		policies: make(map[string]uint32), filters: make(map[string]uint32), next: *n, generations: []*event.Names{n},
	}
}

func (b *nameBook) full() bool { return len(b.policies)+len(b.filters) >= maxLearned }

// Policy implements [feed.Names].
func (b *nameBook) Policy(name string) uint32 {
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
	last := b.generations[len(b.generations)-1]
	if len(last.Policies) == len(b.next.Policies) && len(last.Filters) == len(b.next.Filters) {
		return last.Generation
	}
	n := b.next
	n.Generation = last.Generation + 1
	b.generations = append(b.generations, &n)
	return n.Generation
}

// names returns the names of a generation. Safe for concurrent use.
func (b *nameBook) names(generation uint32) *event.Names {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.generations[0].Generation
	if i := generation - first; i < uint32(len(b.generations)) {
		return b.generations[i]
	}
	return b.generations[0]
}

// latest returns the newest generation. Safe for concurrent use.
func (b *nameBook) latest() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.generations[len(b.generations)-1].Generation
}
