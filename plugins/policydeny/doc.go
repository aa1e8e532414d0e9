// Package policydeny is the hook that applies security policies to the first packet of a flow, as Junos zone policies do:
// it permits, denies or rejects, and says which decisions are logged.
//
// It knows neither sessions nor records and their delivery, and reads no clock.
//
// # How a policy is found
//
// What a policy wants in one dimension (ingress zone, egress zone, source, destination, application) is a condition with a
// number, its label. A packet gets the labels of all conditions that it meets, by one lookup for each dimension. A policy is
// an entry of five labels, or several where it lists alternatives, and a tree of labels finds the first entry whose labels
// the packet all has:
//
//	index.go              policies to conditions and entries; the search
//	addresslabels.go      an address to its labels
//	ranges.go             an address to the range it is in: a search tree whose nodes are cache lines
//	applicationlabels.go  protocol, port and ICMP type to their labels
//	tree.go               the tree of labels
//	denied.go             flows that were denied lately, remembered by each worker
//
// README.md is the page for operators.
package policydeny
