// Package packet reads the headers of one Ethernet frame into a struct that the caller owns.
//
// What lives here: the frame and batch types that sources and workers share, the header decoder, the IP protocol and TCP
// flag constants the decoder needs, and the causes for which a frame is refused. What never may: state between frames,
// allocation, policy (whether a header is an attack is for the screens to say) and anything of ours on a higher floor.
//
// The decoder trusts nothing: every length a header claims is checked against the bytes that are there and against the
// bytes that were on the wire, and a header that lies is refused with a [Cause] that says how.
package packet
