// Package e2e runs the built command on real traffic: hosts in network namespaces on a shared segment, TCP, UDP, ICMP and
// IPv6 between them, attacks, and a tap on the segment read over AF_XDP. It needs root.
package e2e
