// Package draft writes a first configuration for a machine, from what package survey has found out about it.
//
// A draft is a function of what was found: the package looks at nothing itself. What it could not know is marked with "CHECK:".
//
//	choose.go     what sort of machine it is
//	router.go     zones and sources of a router
//	observer.go   of a host and of a mirror port
//	zones.go      names and members of zones
//	text.go       values and comments of TOML
//	templates/    the configurations
package draft
