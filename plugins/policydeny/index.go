package policydeny

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// index finds the policy that decides on a packet, at a cost that hardly depends on how many policies there are.
//
// What a policy wants in one dimension (a zone, an address or address set, an application) is a condition with a number,
// its label; policies that want the same share it. A packet is first given the labels of the conditions that it meets in
// each dimension, by one lookup each. A policy is then an entry of five labels, or several where it lists alternatives, and
// the policy that decides is the first with an entry whose labels the packet all has: see [tree]. It is immutable.
type index struct {
	from, to            zoneLabels
	source, destination *addressLabels
	application         *applicationLabels
	named, global       tree // policies with both zones named are asked first
}

// scratch is where one worker collects the labels of a packet.
type scratch struct {
	source, destination, application []uint32
	ahead                            *ahead // of the last batch; nil: memory is not fetched
}

func (x *index) newScratch() scratch {
	return scratch{
		make([]uint32, 0, x.source.longest), make([]uint32, 0, x.destination.longest), make([]uint32, 0, x.application.longest), nil,
	}
}

// find returns the entry of the policy that decides, nil if none matches.
func (x *index) find(p *hook.Packet, s *scratch) *entry {
	labels := [dimensions][]uint32{
		dimFrom:        x.from.of(p.InZone),
		dimTo:          x.to.of(p.OutZone),
		dimApplication: x.application.of(&p.Headers, s.application),
	}
	if len(labels[dimFrom]) == 0 || len(labels[dimTo]) == 0 || len(labels[dimApplication]) == 0 {
		return nil
	}
	source, destination := x.numbers(p, s)
	labels[dimSource] = x.source.of(source, p.Family, s.source)
	labels[dimDestination] = x.destination.of(destination, p.Family, s.destination)
	if found := x.named.find(&labels); found != nil {
		return found
	}
	return x.global.find(&labels)
}

// numbers returns what the addresses of a packet map to.
func (x *index) numbers(p *hook.Packet, s *scratch) (source, destination uint32) {
	if s.ahead != nil {
		if n := &s.ahead.numbers[p.Place%packet.BatchSize]; n.of(p) {
			return n.source, n.destination
		}
	}
	atSource, atDestination := x.source.ranges.seek(&p.Src, p.Family), x.destination.ranges.seek(&p.Dst, p.Family)
	return x.source.ranges.find(&p.Src, p.Family, atSource), x.destination.ranges.find(&p.Dst, p.Family, atDestination)
}

// maxEntries is how many entries a policy may have. One that lists more alternatives gets labels for whole lists.
const maxEntries = 64

// newIndex returns the index of the policies, which are numbered by their place, as their decisions are. It returns nil if their applications
// overlap too much.
func newIndex(policies []policy, decisions []decision) *index {
	var (
		from, to      conditions[[]uint16]
		source, dest  conditions[condition]
		applications  conditions[[]application.Term]
		named, global []entry
	)
	for number := range policies {
		p := &policies[number]
		whole := p.wholeLists()
		lists := [dimensions][]uint32{
			dimFrom:        zoneConditions(&from, p.from, whole[dimFrom]),
			dimTo:          zoneConditions(&to, p.to, whole[dimTo]),
			dimSource:      addressConditions(&source, &p.src, whole[dimSource]),
			dimDestination: addressConditions(&dest, &p.dst, whole[dimDestination]),
			dimApplication: applicationConditions(&applications, p, whole[dimApplication]),
		}
		if p.global() {
			global = appendEntries(global, &lists, entry{policy: uint32(number), decision: decisions[number]})
		} else {
			named = appendEntries(named, &lists, entry{policy: uint32(number), decision: decisions[number]})
		}
	}
	x := &index{
		from: newZoneLabels(from.list), to: newZoneLabels(to.list),
		source: newAddressLabels(source.list), destination: newAddressLabels(dest.list),
		application: newApplicationLabels(applications.list),
		named:       newTree(named), global: newTree(global),
	}
	if x.application == nil {
		return nil
	}
	return x
}

// wholeLists says for which dimensions the policy gets one label for its whole list: for the longest lists, until its
// entries are few enough.
func (p *policy) wholeLists() (whole [dimensions]bool) {
	alternatives := [dimensions]int{len(p.from), len(p.to), len(p.src.sets), len(p.dst.sets), len(p.applications)}
	for {
		entries, longest := 1, 0
		for d, n := range alternatives {
			entries *= max(n, 1)
			if n > alternatives[longest] {
				longest = d
			}
		}
		if entries <= maxEntries {
			return whole
		}
		whole[longest], alternatives[longest] = true, 1
	}
}

// appendEntries adds an entry like e for every choice of one label of each dimension.
func appendEntries(to []entry, lists *[dimensions][]uint32, e entry) []entry {
	var choose func(d int)
	choose = func(d int) {
		if d == dimensions {
			to = append(to, e)
			return
		}
		for _, e.labels[d] = range lists[d] {
			choose(d + 1)
		}
	}
	choose(0)
	return to
}

// conditions numbers the different conditions of one dimension.
type conditions[T any] struct {
	byKey map[string]uint32
	list  []T // by label
}

// label returns the number of a condition. The key tells it from others.
func (c *conditions[T]) label(key []byte, what T) uint32 {
	if label, known := c.byKey[string(key)]; known {
		return label
	}
	if c.byKey == nil {
		c.byKey = make(map[string]uint32)
	}
	label := uint32(len(c.list))
	c.byKey[string(key)] = label
	c.list = append(c.list, what)
	return label
}

// zoneConditions returns the labels for a list of zones; nil is any.
func zoneConditions(c *conditions[[]uint16], zones []uint16, whole bool) (labels []uint32) {
	if zones == nil || whole {
		var key []byte
		for _, z := range slices.Sorted(slices.Values(zones)) {
			key = binary.NativeEndian.AppendUint16(key, z)
		}
		return append(labels, c.label(key, zones))
	}
	for i, z := range zones {
		labels = append(labels, c.label(binary.NativeEndian.AppendUint16(nil, z), zones[i:i+1]))
	}
	return labels
}

// addressConditions returns the labels for one side of a policy.
func addressConditions(c *conditions[condition], s *side, whole bool) (labels []uint32) {
	if s.excluded || whole {
		key := []byte{'='}
		if s.excluded {
			key[0] = '!'
		}
		for _, set := range slices.SortedFunc(slices.Values(s.sets), func(a, b *set) int { return cmp.Compare(a.id, b.id) }) {
			key = binary.NativeEndian.AppendUint32(key, set.id)
		}
		return append(labels, c.label(key, condition{union(s.sets), s.excluded, s.families}))
	}
	for _, set := range s.sets {
		labels = append(labels, c.label(binary.NativeEndian.AppendUint32([]byte{'='}, set.id), condition{set: set}))
	}
	return labels
}

// applicationConditions returns the labels for a policy's applications.
func applicationConditions(c *conditions[[]application.Term], p *policy, whole bool) (labels []uint32) {
	if p.applications == nil || whole {
		return append(labels, c.label([]byte(strings.Join(p.applications, "\x00")), p.terms))
	}
	terms := p.terms
	for i, name := range p.applications {
		n := p.termCounts[i]
		labels = append(labels, c.label([]byte(name), terms[:n:n]))
		terms = terms[n:]
	}
	return labels
}

// zoneLabels gives the labels of a zone.
type zoneLabels struct {
	any  []uint32   // labels of any zone, known or not
	rows [][]uint32 // by zone id
}

// newZoneLabels numbers the lists of zones by their place; nil is any.
func newZoneLabels(lists [][]uint16) (z zoneLabels) {
	for label, zones := range lists {
		if zones == nil {
			z.any = append(z.any, uint32(label))
		}
	}
	for label, zones := range lists {
		for _, id := range zones {
			for int(id) >= len(z.rows) {
				z.rows = append(z.rows, slices.Clip(z.any))
			}
			z.rows[id] = append(z.rows[id], uint32(label))
		}
	}
	return z
}

func (z *zoneLabels) of(zone uint16) []uint32 {
	if int(zone) < len(z.rows) {
		return z.rows[zone]
	}
	return z.any
}
