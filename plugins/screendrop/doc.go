// Package screendrop is the hook for Junos screens, which detect attacks by single packets, floods, scans and sweeps.
//
// It judges packets by the screens that are bound to their ingress
// zone: at the ingress site, and the first packets of UDP flows at the session site.
//
// The package holds the screens, their order, their configuration, and the bounded tables that some of them need. It knows
// no sessions and no routes: the screens that need them are not offered.
//
// # Files
//
//	plugin.go      what is registered; options to hooks
//	options.go     the table of a set of screens: thresholds, defaults and checks
//	screens.go     the hook at the ingress site: which screen fires
//	beginnings.go  the hook at the session site: scans and sweeps of UDP
//	signature.go   screens that need one packet only
//	fragments.go   datagrams whose fragments overlap
//	rate.go        floods: packets per key and second
//	scan.go        scans and sweeps: different targets of a source
//	hash.go        keys of the tables
//
// # What workers share
//
// All workers share the tables, because receive-side scaling spreads one flood over all queues. What counts is not locked:
// each key is one word that is changed by compare-and-swap, and a key that is over its threshold is only read. Fragments
// are remembered under a lock per set. See [rateTable], [scanTable] and [datagramTable] for what they promise.
//
// README.md is the page for operators.
package screendrop
