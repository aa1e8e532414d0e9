// Package screendrop is the hook for Junos screens: attacks that one packet gives away, and attacks that show in how
// many packets, ports or hosts one address sends or gets. It judges packets at the ingress site, by the screens that are
// bound to their ingress zone.
//
// What lives here: the screens, their order, their configuration, and the bounded tables that the counting ones need.
// What never may: sessions and routes (the screens that need them are not offered), the gate, sinks, clocks.
//
// All workers share the tables, because receive-side scaling spreads one flood over all queues. Nothing is locked: each
// key is one word that is changed by compare-and-swap, and a key that is over its threshold is only read. See
// [rateTable] and [scanTable] for what they promise, and the README for the rest.
package screendrop
