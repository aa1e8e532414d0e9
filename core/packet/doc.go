// Package packet decodes the headers of one frame into a struct that the caller owns.
//
// It knows the link layers of [Link], IPv4 and IPv6 with their options and extension headers, TCP, UDP, SCTP and ICMP. It
// keeps no state between frames, allocates nothing, and does not decide whether a header is an attack: the screens do.
//
// Every length that a header states is checked against the bytes that are there and against the bytes that were on the
// wire. A packet whose lengths do not fit is refused with a [Cause], which is the name of a counter, too.
package packet
