// Package policydeny is the hook that applies Junos security policies to the first packet of a flow.
//
// A policy permits, denies or rejects a flow, and says which decisions are logged. The hook knows neither sessions nor
// records and their delivery, and reads no clock.
//
// # Files
//
//	plugin.go             what is registered; options to hook
//	options.go            the table of a rule base, and its defaults
//	compile.go            options to policies, with every mistake
//	book.go, set.go       names of addresses to sets of prefixes
//	policy.go             what a policy matches and decides
//	shadow.go, unused.go  warnings: what never decides, what nothing uses
//	engine.go             the hook: from a packet to a decision
//	index.go              policies to conditions and entries; the search
//	addresslabels.go      an address to its labels
//	ranges.go             an address, or a port, to the range it is in: a search tree whose nodes are cache lines
//	applicationlabels.go  protocol, port and ICMP type to their labels
//	tree.go               labels to policies
//	prefetch.go           the searches for a batch of packets side by side, to have memory fetched
//
// # How a policy is found
//
// What a policy wants in one dimension (ingress zone, egress zone, source, destination, application) is a condition with a
// number, its label. A packet gets the labels of all conditions that it meets, by one lookup for each dimension. A policy is
// an entry of five labels, or several where it lists alternatives, and a tree of labels finds the first entry whose labels
// the packet all has.
//
// With very many policies the time goes into reading memory that is in no near cache, one read after the other: the last nodes
// of the searches for source and destination, each with the label beside the keys; the child of the tree for the source; the
// entries that agree so far, which lie together, each with its decision; the counters of the policy. A worker therefore shows
// the hook the packets of a batch that begin flows before it carries them. The hook does the searches of all of them at once,
// read by read, and has the processor fetch what comes next for each. Nothing is decided by that, and of packets whose searches
// have many ways only some are followed; what is kept for the decision are the numbers that addresses map to, with the addresses.
// A rule base that fits into the cache of a processor core is spared this. All large arrays are in pages of 2 MiB if the kernel
// grants them.
//
// README.md is the page for operators.
package policydeny
