// Package e2e tests the built command with real traffic between network namespaces.
//
// Hosts on a shared segment exchange TCP, UDP and ICMP over IPv4 and IPv6, and send attacks; the command reads a tap on the
// segment over AF_XDP. The tests need root.
package e2e
