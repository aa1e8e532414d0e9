// Package hook defines the contract between a worker and the code that judges packets at a call
// site.
//
// A hook judges; the worker turns what it found into records after admission. Hooks do not know each other, the gate,
// the rings or the sinks.
package hook

import (
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Site is a place on the packet path where hooks are called, in this order.
type Site uint8

const (
	Ingress Site = iota // every packet before the session lookup: input filters, screens
	Session             // the first packet of a flow: policies
	Egress              // every packet that is let through: output filters

	NumSites = 3
)

var siteNames = [NumSites]string{"ingress", "session", "egress"}

// String returns the site's name.
func (s Site) String() string { return siteNames[s] }

// Verdict is what becomes of a packet.
type Verdict uint8

const (
	Pass     Verdict = iota // on to the next hook
	Drop                    // silently
	Reject                  // and tell the sender, where the source can send (a tap and a capture cannot), as a host with a closed port does
	Prohibit                // and tell it that this is administratively prohibited
)

// Rejects reports whether the sender is told of a packet that does not pass.
func (v Verdict) Rejects() bool { return v >= Reject }

// Packet is one decoded packet on its way past the hooks. Hooks read it and change only Policy fields that the session
// site owns.
type Packet struct {
	packet.Headers
	Time      int64  // ns on the worker's clock, never decreasing within a worker
	Interface uint32 // logical ingress interface: the VLAN interface where one is configured
	InZone    uint16
	OutZone   uint16 // known at the session site and after; 0 = unknown
	// Leaves is the zone of the interface by which the packet leaves this host, 0 = it was seen where it came in, or the zone
	// is not known.
	Leaves uint16
	// App is the predefined application of (protocol, destination port), 0 = none. Known at the session site.
	App uint16
	// Worker numbers the worker that carries the packet, from 0, for counters of its own.
	Worker int
	// Place is that of the packet in its batch, below [packet.BatchSize], for what a [Prefetcher] finds out about it.
	Place int
}

// Finding is what a hook has to say about a packet beyond its verdict. The zero Finding says nothing. The worker hands in
// a zero Finding and makes an event of it if Found is set.
type Finding struct {
	Found  bool
	Kind   event.Kind // PolicyDeny, ScreenDrop or FilterLog
	Action event.Action

	Screen event.Screen       // ScreenDrop
	Policy uint32             // PolicyDeny
	Filter uint32             // FilterLog
	Term   uint32             // FilterLog
	At     event.FilterSource // FilterLog

	// Rule is for the hook itself: what of it has decided, see [SessionHook.Denied].
	Rule uint32
	// Remember is set at the session site if all other packets of the flow in that direction are judged alike, and Decide
	// need not see them: those with the same addresses, ports, protocol, ICMP type and code, zones, application and HasHead.
	// It is not set if anything else matters, such as the time or how many packets there were.
	Remember bool
}

// Permit is what a hook at the session site says of a session it lets through. The zero Permit is a session with no
// policy and logs both its ends.
type Permit struct {
	Policy  uint32
	NoOpen  bool   // no SessionOpen record
	NoClose bool   // no SessionClose record
	Timeout uint32 // inactivity timeout in seconds; 0 = by protocol
}

// Hook judges packets at one call site. It is called by every worker at once, allocates nothing, makes no system call and
// never blocks. Its own state is bounded, and it never reads the clock: Packet.Time is now.
type Hook interface {
	// Inspect judges one packet. It may set one finding, with Found, and leaves f as it is otherwise; a packet that is dropped without
	// a finding is dropped silently.
	Inspect(p *Packet, f *Finding) Verdict
}

// Sparing is a [Hook] that need not see all packets of some sessions, or of flows that have none. They go past it, or a source carries them
// by itself; of a hook that is not Sparing, every packet is carried by a worker, and seen.
type Sparing interface {
	Hook
	// Spares reports whether the hook would let every packet pass that is like p, and does not count or report it, and need not see it.
	// Packets are like p that are of the same direction of its session or flow, with the same interface, zones and VLANs, no fragments, and
	// without IP options, the reserved flag, or extension headers; of TCP, with ACK, and without SYN, FIN, RST and URG. Anything else of them may be different: their
	// length, TTL, DSCP, PSH. An ingress hook is asked before it is known where the packet goes.
	Spares(p *Packet) bool
}

// SessionHook is a hook at the session site. It sees the first packet of a session, and none of the others.
type SessionHook interface {
	// Decide judges the first packet of a flow. On Pass it fills in permit; otherwise it may set a finding.
	//
	// A packet that is not let through need not be lost: it may turn out to be the answer to one that is carried later.
	// Decide may also be asked about a packet as the other end would have sent it.
	Decide(p *Packet, permit *Permit, f *Finding) Verdict
	// Denied is told of each packet that is dropped or rejected for good by what Decide has said, in f, of this packet or of
	// another of its flow. It is the place to count it.
	Denied(p *Packet, f *Finding)
}

// Publisher is a [SessionHook] that counts in plain words what it denies in a batch.
type Publisher interface {
	SessionHook
	// Publish has others see what was counted for a worker, which calls it after a batch of which packets were denied.
	Publish(worker int)
}

// Rematcher is a [SessionHook] that can be asked about sessions that live, when it has come in the place of another.
type Rematcher interface {
	SessionHook
	// Rematch returns a function for one goroutine, beside the workers, that reports whether Decide would let a packet pass. It counts
	// nothing, and remembers nothing of the packet.
	Rematch() func(p *Packet) bool
}

// Prefetcher is a [SessionHook] that reads more memory than a processor's caches hold. It is told beforehand of packets that it may
// have to judge, so that it can have fetched what it will read: it then waits once for a batch and not for each packet.
type Prefetcher interface {
	SessionHook
	// Prefetch is called with packets of one batch of a worker, at least one, before any of the batch is carried. They look as
	// if they began flows, and are as Decide will have them, but for App. Whether Decide is asked about them, about others, or
	// about packets that have come into their places, it decides as if Prefetch had not been called. Nothing is counted.
	Prefetch(packets []*Packet)
}

// Instance is one configured hook: at any of the sites, at most one function each.
type Instance struct {
	Ingress Hook
	Session SessionHook
	Egress  Hook
	// Permits is set if Session says what is logged of the sessions it permits, and when they time out. Of two such hooks
	// the later one has its way.
	Permits bool
	// Counters, if set, returns the hook's own counters by name, for metrics and status. Safe for concurrent use.
	Counters func() []Counter
	// Fresh, if set, returns an instance of the same configuration that has seen no packet, for a few packets: of a hook that judges by
	// those before.
	Fresh func() Instance
	// Holds says what was configured, for people: 12 policies.
	Holds []Held
}

// Held is how many things of a sort a hook holds.
type Held struct {
	N         int
	One, Many string // "policy", "policies"
}

// Counter is one of a hook's own counters, as metrics and status show it.
type Counter struct {
	Name    string `json:"name"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Plugin is a plugin that offers a hook.
type Plugin = sdk.Plugin[Env, Instance]

// Env is what a hook is built from.
type Env struct {
	Workers int // Packet.Worker is below it
	Zones   *zone.Table
	Apps    *application.Table
	Names   *NameBuilder
	// Live is false for a capture: Time then is the packets' own.
	Live bool
	// EgressByPrefix is true if prefixes alone tell the zone that a packet goes to.
	EgressByPrefix bool
	// ZonesByRoute is true if the kernel's routes tell the zone of an address that is in no prefix of a zone.
	ZonesByRoute bool
	// Former is the hook of the same name and plugin in whose place this one comes; nil: there is none. It may judge packets for a while
	// beside this one, which may go on with what it remembers, and must not keep it.
	Former *Instance
}

// NameBuilder collects the names that the ids in records stand for, across all hooks of a pipeline, so that ids do not
// collide.
type NameBuilder struct {
	policies []string
	filters  []event.Filter
	former   map[string][]uint32 // ids by name, of policies of earlier generations that were not asked for again
	formerly map[string][]uint32 // the same of filters, by all their names
}

// NewNameBuilder returns a builder whose id 0 means "none" for policies and filters.
func NewNameBuilder() *NameBuilder {
	return &NameBuilder{policies: []string{""}, filters: []event.Filter{{}}}
}

// NextNames returns a builder for the generation after n: what had a name has it still, and a policy or filter of the same names has
// the same id. Several policies of one name keep their ids in the order in which they are asked for.
func NextNames(n *event.Names) *NameBuilder {
	b := &NameBuilder{
		policies: slices.Clip(n.Policies), filters: slices.Clip(n.Filters),
		former: make(map[string][]uint32, len(n.Policies)), formerly: make(map[string][]uint32, len(n.Filters)),
	}
	for id, name := range n.Policies[1:] {
		b.former[name] = append(b.former[name], uint32(id+1))
	}
	for id, f := range n.Filters[1:] {
		key := filterKey(f.Name, f.Terms)
		b.formerly[key] = append(b.formerly[key], uint32(id+1))
	}
	return b
}

// filterKey returns one string for the names of a filter.
func filterKey(name string, terms []string) string {
	return name + "\x00" + strings.Join(terms, "\x00")
}

// takeFormer takes the first id of a name that was not asked for again.
func takeFormer(ids map[string][]uint32, name string) (id uint32, ok bool) {
	list := ids[name]
	if len(list) == 0 {
		return 0, false
	}
	ids[name] = list[1:]
	return list[0], true
}

// Policy returns an id for the policy of that name, another one at each call.
func (b *NameBuilder) Policy(name string) uint32 {
	if id, ok := takeFormer(b.former, name); ok {
		return id
	}
	b.policies = append(b.policies, name)
	return uint32(len(b.policies) - 1)
}

// Filter returns an id for the filter and its terms, another one at each call.
func (b *NameBuilder) Filter(name string, terms []string) uint32 {
	if id, ok := takeFormer(b.formerly, filterKey(name, terms)); ok {
		return id
	}
	b.filters = append(b.filters, event.Filter{Name: name, Terms: terms})
	return uint32(len(b.filters) - 1)
}

// Fill sets the names collected so far.
func (b *NameBuilder) Fill(n *event.Names) {
	n.Policies = b.policies
	n.Filters = b.filters
}
