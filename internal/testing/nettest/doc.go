// Package nettest builds small networks for tests: network namespaces as hosts, and veth pairs as cables.
//
// A host has no name in the file system. It lives as long as a descriptor, a thread or a process refers to it, so the
// kernel removes it with its interfaces at the end of the test, and also when the test is killed. Nothing here touches
// the namespace the test was started in, and no packet leaves the namespaces made here.
//
// A host is quiet: IPv6 is off until the test gives an IPv6 address, so that no packet is seen that the test did not
// send.
//
// Only tests import it.
package nettest
