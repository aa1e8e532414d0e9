// Package filterlog is the hook for Junos firewall filters: terms in order, the first that matches decides, and what
// matches none is discarded. It judges packets at the ingress site (input) and at the egress site (output), before and
// after policies, and makes an event of those that a term logs.
//
// It keeps no state between packets but counters, and knows neither sessions nor the gate, sinks or clocks.
//
// A filter is compiled into one bit per term. For each field of the packet that some term looks at, a table gives the
// terms that agree with its value; what is left when all of them are intersected are the terms that match. So a packet
// pays for the fields that are used and hardly for the number of terms. See [matcher].
package filterlog
