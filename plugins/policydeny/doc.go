// Package policydeny is the hook that applies security policies to the first packet of a flow, as Junos zone policies do:
// it permits, denies or rejects, and says which decisions are logged.
//
// What lives here: the policies' configuration, their compiled form, and counters of their own. What never may: sessions,
// records and their delivery, the clock, and anything that changes after the configuration was read, except counters.
//
// A configuration is compiled once: names become ids, address lists become sorted ranges per family, and each pair of zones
// gets the chain of the policies that can match between them. README.md is the page for operators.
package policydeny
