package policydeny

import (
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/prefetch"
)

// prefetching is an engine whose index is in no near cache. It does the searches for the packets of a batch side by side, one
// read of memory for each at a time, and asks the processor for what the next reads will be. When the packets are then
// judged, one after the other, nothing that they need is far away. Where a search has many ways only some are followed:
// what is not fetched is waited for.
type prefetching struct{ *engine }

var _ hook.Prefetcher = prefetching{}

// nearCache is how many bytes of an index it does not pay to fetch: the second level of most processors' caches holds them.
const nearCache = 256 << 10

// newPrefetching returns the engine as one that fetches memory, from here on.
func newPrefetching(e *engine) prefetching {
	for i := range e.workers {
		e.workers[i].ahead = new(ahead)
	}
	return prefetching{e}
}

// size returns how many bytes, about, a search in the index may read.
func (x *index) size() int {
	const entrySize, rangeSize = 32, 8
	return entrySize*(len(x.named.entries)+len(x.global.entries)) + rangeSize*(x.source.ranges.len()+x.destination.ranges.len())
}

// ahead is what a worker finds out about the packets of a batch before they are judged, and room for what to fetch next.
type ahead struct {
	numbers [packet.BatchSize]addressNumbers // by Packet.Place

	// The packets of one family, and what belongs to each, at the same place.
	packets             [packet.BatchSize]*hook.Packet
	srcKeys, dstKeys    [packet.BatchSize]uint64
	source, destination [packet.BatchSize]uint32 // places of the addresses, then their numbers

	named, global, asked, runs visits
	near, far, others          places
}

// addressNumbers are the numbers of a packet's addresses, see [addressRanges]. The zero addressNumbers is of no packet.
type addressNumbers struct {
	src, dst            packet.Addr
	family              packet.Family
	source, destination uint32
}

// of reports whether the numbers are those of the packet's addresses.
func (n *addressNumbers) of(p *hook.Packet) bool {
	return n.family == p.Family && n.src == p.Src && n.dst == p.Dst
}

// visit is where the search for a packet comes to: a child of a tree or, with the label, the way to the next.
type visit struct {
	packet uint32
	at     child
	label  uint32
}

// listSize is how many ways are followed of all packets of a batch together.
const listSize = 2 * packet.BatchSize

// visits is a list of them that leaves out what it has no room for.
type visits struct {
	n    int
	list [listSize]visit
}

func (v *visits) all() []visit { return v.list[:v.n] }

func (v *visits) add(next visit) {
	if v.n < listSize {
		v.list[v.n] = next
		v.n++
	}
}

// places is a list of places in an array that leaves out what it has no room for.
type places struct {
	n    int
	list [listSize]uint32
}

func (p *places) add(at uint32) {
	if p.n < listSize {
		p.list[p.n] = at
		p.n++
	}
}

// fetch has the places of an array fetched, and empties the list of them.
func fetch[T any](array []T, p *places) {
	prefetch.Elements(array, p.list[:p.n])
	p.n = 0
}

// Prefetch implements [hook.Prefetcher].
func (e prefetching) Prefetch(packets []*hook.Packet) {
	if len(packets) == 0 {
		return
	}
	packets = packets[:min(len(packets), packet.BatchSize)]
	w := &e.workers[packets[0].Worker]
	for _, f := range [...]packet.Family{packet.IPv4, packet.IPv6} {
		n := e.begin(w.ahead, packets, f)
		if n == 0 {
			continue
		}
		e.findAddresses(w.ahead, n, f)
		e.follow(w, &e.index.named, &w.ahead.named, f)
		e.follow(w, &e.index.global, &w.ahead.global, f)
	}
}

// begin collects the packets of a family that a policy may match, and the beginnings of their ways. It returns how many they are.
func (e prefetching) begin(a *ahead, packets []*hook.Packet, f packet.Family) (n int) {
	x := e.index
	a.named.n, a.global.n = 0, 0
	var named, global beginnings
	in, out := -1, -1 // packets of one pair of zones often come together
	for _, p := range packets {
		if p.Family != f {
			continue
		}
		if int(p.InZone) != in || int(p.OutZone) != out {
			in, out = int(p.InZone), int(p.OutZone)
			from, to := x.from.of(p.InZone), x.to.of(p.OutZone)
			named.find(&x.named, from, to)
			global.find(&x.global, from, to)
		}
		if named.n+global.n == 0 || x.application.none(&p.Headers) {
			continue
		}
		for _, c := range named.list[:named.n] {
			a.named.add(visit{packet: uint32(n), at: c})
		}
		for _, c := range global.list[:global.n] {
			a.global.add(visit{packet: uint32(n), at: c})
		}
		a.packets[n], a.srcKeys[n], a.dstKeys[n] = p, key(&p.Src, f), key(&p.Dst, f)
		n++
	}
	return n
}

// beginnings are the children of a tree for a pair of zones, some of them.
type beginnings struct {
	n    int
	list [4]child
}

func (b *beginnings) find(t *tree, from, to []uint32) {
	b.n = 0
	if len(t.nodes) == 0 {
		return
	}
	for _, label := range from {
		c, ok := t.child(0, &t.nodes[0], label)
		if !ok || c&isRun != 0 { // a run of so few is not worth it
			continue
		}
		for _, label := range to {
			if next, ok := t.child(uint32(c), &t.nodes[c], label); ok && b.n < len(b.list) {
				b.list[b.n] = next
				b.n++
			}
		}
	}
}

// findAddresses finds the numbers of the addresses of the first n packets.
func (e prefetching) findAddresses(a *ahead, n int, f packet.Family) {
	x, source, destination := e.index, a.source[:n], a.destination[:n]
	x.source.ranges.seekAll(f, a.srcKeys[:n], source)
	x.destination.ranges.seekAll(f, a.dstKeys[:n], destination)
	for i, p := range a.packets[:n] {
		source[i] = x.source.ranges.find(&p.Src, f, int(source[i]))
		destination[i] = x.destination.ranges.find(&p.Dst, f, int(destination[i]))
		a.numbers[p.Place%packet.BatchSize] = addressNumbers{p.Src, p.Dst, f, source[i], destination[i]}
		if source[i]&isLabel == 0 {
			a.near.add(source[i])
		}
		if destination[i]&isLabel == 0 {
			a.far.add(destination[i])
		}
	}
	fetch(x.source.pool, &a.near)
	fetch(x.destination.pool, &a.far)
}

// labels returns the labels of a packet for a depth of the tree.
func (e prefetching) labels(w *worker, packet uint32, depth int, f packet.Family) []uint32 {
	if depth == dimSource {
		return e.index.source.of(w.ahead.source[packet], f, w.source)
	}
	return e.index.destination.of(w.ahead.destination[packet], f, w.destination)
}

// follow follows the ways of a tree from where they begin to the entries, and to what is counted of their policies.
func (e prefetching) follow(w *worker, t *tree, ways *visits, f packet.Family) {
	a := w.ahead
	a.runs.n = 0
	for depth := dimSource; depth <= dimDestination && ways.n > 0; depth++ {
		a.asked.n = 0
		for _, v := range ways.all() {
			if v.at&isRun != 0 {
				a.runs.add(v)
				continue
			}
			n := &t.nodes[v.at]
			for _, v.label = range e.labels(w, v.packet, depth, f) {
				a.asked.add(v)
				switch {
				case n.dense:
					if i := v.label - n.base; i < n.count {
						a.near.add(n.first + i)
					}
				case n.large():
					a.far.add(uint32(t.large.slot(uint32(v.at), v.label)))
				default:
					a.near.add(n.first)
					a.others.add(n.first)
				}
			}
		}
		fetch(t.children, &a.near)
		fetch(t.large.slots, &a.far)
		fetch(t.labels, &a.others)
		ways.n = 0
		for _, v := range a.asked.all() {
			c, ok := t.child(uint32(v.at), &t.nodes[v.at], v.label)
			if !ok {
				continue
			}
			ways.add(visit{packet: v.packet, at: c})
			if c&isRun == 0 {
				a.far.add(uint32(c))
				continue
			}
			first, more := uint32(c&firstMask), uint32(c&^isRun>>runShift)
			a.near.add(first)
			if more > 0 {
				a.near.add(first + more)
			}
		}
		fetch(t.entries, &a.near)
		fetch(t.nodes, &a.far)
	}
	for _, v := range ways.all() {
		if v.at&isRun != 0 {
			a.runs.add(v)
		}
	}
	for _, v := range a.runs.all() {
		labels := e.labels(w, v.packet, dimDestination, f)
		run := t.run(v.at)
		for i := range run {
			if slices.Contains(labels, run[i].labels[dimDestination]) {
				a.others.add(run[i].policy)
			}
		}
	}
	e.tally.Prefetch(a.packets[0].Worker, a.others.list[:a.others.n])
	fetch(e.ids, &a.others)
}
