// Package capture is the frame source that reads packet captures: pcap in both byte orders, with microseconds or
// nanoseconds, and pcapng; either of them plain or compressed; from a file or from standard input.
//
// It does not decode what is inside a frame, and does not pace: a capture is read as fast as it goes, in the time of
// its packets.
//
// A capture is untrusted input. Whatever it holds, reading it needs bounded memory, ends in io.EOF or in an [Error] that
// names the packet, and never panics.
package capture
