// Package survey looks at a machine for what a first configuration depends on: interfaces, addresses, routes, rules of the firewall,
// connection tracking.
//
// It changes nothing and loads no module of the kernel. What it makes of all this is not its concern: see package draft.
package survey
