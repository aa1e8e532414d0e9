package policydeny

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/rtflow/pipelined/internal/hugepage"
)

// A dimension is one of the things that policies tell packets apart by. For each, a packet has a few labels: the names of
// the conditions it meets there.
const (
	dimFrom = iota
	dimTo
	dimSource
	dimDestination
	dimApplication

	dimensions
)

// entry says that packets with these labels, one of each dimension, are the policy's, and what that decides: whoever has read
// the one has the other. An entry is half a cache line, and lies in one.
type entry struct {
	labels [dimensions]uint32
	policy uint32 // lower numbers come first
	decision
}

func compareEntries(a, b entry) int {
	return cmp.Or(slices.Compare(a.labels[:], b.labels[:]), cmp.Compare(a.policy, b.policy))
}

// tree finds the first policy that has an entry with labels of a packet only. A node at depth d stands for the entries
// that agree in their first d labels; its children are told apart by the next label. A child of a few entries is no node but
// the run of them, which lies in one place in memory. A search follows the paths whose labels the packet has, which are as
// many as policies that it nearly matches, and not as many as there are policies. The zero tree is empty. It is immutable.
type tree struct {
	entries  []entry // those of a run together, by policy
	nodes    []node
	labels   []uint32 // of the children of all nodes, those of a node together and in order
	children []child  // beside labels
	large    labelMap // children of nodes with many of them whose labels are far apart
}

type node struct {
	first  uint32 // of its children
	count  uint32
	lowest uint32 // policy below it
	base   uint32 // label of the first child
	dense  bool   // children have every label from base on, and some are noChild
}

// child is a node or, with isRun, a run: its length less one, and below that its first entry.
type child uint32

const (
	isRun     child = 1 << 31
	runShift        = 29
	noChild   child = 1<<32 - 1
	firstMask       = 1<<runShift - 1
)

const (
	fewChildren = 8                    // up to so many children a walk beats a lookup in a map
	fewEntries  = 1 << (31 - runShift) // a run has at most so many: two cache lines
)

func newRun(lo, hi int) child { return isRun | child(hi-lo-1)<<runShift | child(lo) }

// run returns the entries of a run.
func (t *tree) run(c child) []entry {
	first, n := uint32(c&firstMask), uint32(c&^isRun>>runShift)+1
	return t.entries[first : first+n]
}

// newTree builds the tree of the entries, which it sorts.
func newTree(entries []entry) tree {
	slices.SortFunc(entries, compareEntries)
	entries = slices.CompactFunc(entries, func(a, b entry) bool { return a.labels == b.labels }) // the first policy stays
	t := tree{entries: hugepage.Make[entry](len(entries))}
	copy(t.entries, entries)
	entries = t.entries
	if len(entries) == 0 {
		return t
	}
	type group struct{ lo, hi int } // of the entries below a node
	level := []group{{0, len(entries)}}
	large := 0
	for depth := 0; len(level) > 0; depth++ {
		var next []group
		below := len(t.nodes) + len(level) // the first node of the next level
		for _, s := range level {
			n := newNode(entries[s.lo:s.hi], depth)
			n.first = uint32(len(t.labels))
			for lo, hi := s.lo, 0; lo < s.hi; lo = hi {
				label := entries[lo].labels[depth]
				for hi = lo + 1; hi < s.hi && entries[hi].labels[depth] == label; {
					hi++
				}
				for next := n.base + uint32(len(t.labels)) - n.first; n.dense && next < label; next++ {
					t.labels = append(t.labels, next)
					t.children = append(t.children, noChild)
				}
				c := child(below + len(next))
				if hi-lo > fewEntries {
					next = append(next, group{lo, hi})
				} else {
					slices.SortFunc(entries[lo:hi], func(a, b entry) int { return cmp.Compare(a.policy, b.policy) })
					c = newRun(lo, hi)
				}
				t.labels = append(t.labels, label)
				t.children = append(t.children, c)
			}
			if n.count = uint32(len(t.labels)) - n.first; n.large() {
				large += int(n.count)
			}
			t.nodes = append(t.nodes, n)
		}
		level = next
	}
	t.large = newLabelMap(large)
	for i, n := range t.nodes {
		if !n.large() {
			continue
		}
		for c := n.first; c < n.first+n.count; c++ {
			t.large.add(uint32(i), t.labels[c], t.children[c])
		}
	}
	return t
}

// large reports whether the children of a node are in the map.
func (n *node) large() bool { return n.count > fewChildren && !n.dense }

// newNode returns the node for entries, of which it looks at the label at a depth. Labels that are in use for a quarter of
// their range are dense: an array of children takes less memory than the map, and no search.
func newNode(entries []entry, depth int) node {
	n := node{lowest: math.MaxUint32, base: entries[0].labels[depth]}
	different, last := uint32(0), n.base
	for i := range entries {
		n.lowest = min(n.lowest, entries[i].policy)
		if label := entries[i].labels[depth]; i == 0 || label != last {
			different, last = different+1, label
		}
	}
	n.dense = different > fewChildren && last-n.base < 4*different
	return n
}

// find returns the entry of the lowest policy that has one with labels of the packet only, nil if there is none.
func (t *tree) find(packet *[dimensions][]uint32) *entry {
	if len(t.nodes) == 0 {
		return nil
	}
	return t.descend(0, 0, packet, nil)
}

// descend returns the entry of the lowest policy below a node, best if that is lower.
func (t *tree) descend(at uint32, depth int, packet *[dimensions][]uint32, best *entry) *entry {
	n := &t.nodes[at]
	if best != nil && n.lowest >= best.policy {
		return best
	}
	for _, label := range packet[depth] {
		c, ok := t.child(at, n, label)
		switch {
		case !ok:
		case c&isRun == 0:
			best = t.descend(uint32(c), depth+1, packet, best)
		default:
			best = t.search(c, depth+1, packet, best)
		}
	}
	return best
}

// search returns the first entry of a run whose labels from a depth on the packet has, best if that is of a lower policy.
func (t *tree) search(c child, depth int, packet *[dimensions][]uint32, best *entry) *entry {
	run := t.run(c)
	for i := range run {
		e := &run[i]
		if best != nil && e.policy >= best.policy {
			return best
		}
		if e.has(packet, depth) {
			return e
		}
	}
	return best
}

// has reports whether the packet has the entry's labels from a depth on.
func (e *entry) has(packet *[dimensions][]uint32, depth int) bool {
	for d := depth; d < dimensions; d++ {
		if !slices.Contains(packet[d], e.labels[d]) {
			return false
		}
	}
	return true
}

func (t *tree) child(at uint32, n *node, label uint32) (c child, ok bool) {
	switch {
	case n.dense:
		if i := label - n.base; i < n.count { // below base it is too large as well
			c = t.children[n.first+i]
			return c, c != noChild
		}
	case n.large():
		return t.large.get(at, label)
	default:
		for i, l := range t.labels[n.first : n.first+n.count] {
			if l == label {
				return t.children[int(n.first)+i], true
			}
		}
	}
	return 0, false
}

// labelMap maps a node and a label to a child: open addressing, at most half full, an entry in one cache line.
type labelMap struct {
	slots []labelSlot
	shift int
}

type labelSlot struct {
	node, label uint32
	child       child
	used        bool
}

func newLabelMap(n int) labelMap {
	size := bits.Len(uint(2 * n))
	return labelMap{slots: hugepage.Make[labelSlot](1 << size), shift: 64 - size}
}

func (m *labelMap) slot(node, label uint32) int {
	const golden = 0x9e3779b97f4a7c15 // the keys are the program's own numbers: nobody chooses them
	return int((uint64(node)<<32 | uint64(label)) * golden >> m.shift)
}

func (m *labelMap) add(node, label uint32, c child) {
	i := m.slot(node, label)
	for m.slots[i].used {
		i = (i + 1) & (len(m.slots) - 1)
	}
	m.slots[i] = labelSlot{node, label, c, true}
}

func (m *labelMap) get(node, label uint32) (c child, ok bool) {
	for i := m.slot(node, label); m.slots[i].used; i = (i + 1) & (len(m.slots) - 1) {
		if s := &m.slots[i]; s.node == node && s.label == label {
			return s.child, true
		}
	}
	return 0, false
}
