// Package ctnetlink decodes the messages of the kernel's connection tracking (ctnetlink), and builds requests to it, without
// allocating.
//
//	entry.go     an entry of the conntrack table, and what messages say of it
//	decode.go    a message to an entry
//	request.go   requests: dump the table, get an entry, count them
//	filter.go    a socket filter that keeps messages away
package ctnetlink
