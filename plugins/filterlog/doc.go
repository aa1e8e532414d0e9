// Package filterlog is the hook for Junos firewall filters: the first term that matches a packet decides.
//
// A packet that matches no term is discarded. The hook judges packets at the ingress site (input) and at the egress site
// (output), before and after policies, and makes an event of those that a term logs.
//
// It keeps no state between packets but counters, and knows neither sessions nor the gate, sinks or clocks.
//
// # Files
//
//	plugin.go   what is registered; options to hooks
//	options.go  the table of a filter: defaults and checks
//	action.go   what a term does, as an option
//	address.go  addresses and names of prefix lists, as options
//	values.go   numbers, their names and ranges, as options
//	bits.go     expressions of flags, as options
//	names.go    the names that Junos has for values
//	filter.go   the hooks: terms in order
//	compile.go  conditions of all terms, by what they are about
//	matcher.go  the terms that match a packet
//	table.go    a field's value to terms
//	trie.go     an address to terms
//
// # How terms are found
//
// A filter is compiled into one bit per term. For each field of the packet that some term looks at, a table gives the
// terms that agree with its value; what is left when all of them are intersected are the terms that match. So a packet
// pays for the fields that are used and hardly for the number of terms. See [matcher].
//
// README.md is the page for operators.
package filterlog
