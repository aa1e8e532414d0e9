// Package packet reads the headers of one Ethernet frame into a struct that the caller owns.
//
// It keeps no state between frames, allocates nothing, and judges nothing: whether a header is an attack is for the
// screens to say.
//
// The decoder trusts nothing: every length a header claims is checked against the bytes that are there and against the
// bytes that were on the wire, and a header that lies is refused with a [Cause] that says how.
package packet
