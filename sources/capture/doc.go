// Package capture is the frame source that reads packet captures: pcap in both byte orders, with microseconds or
// nanoseconds, and pcapng; either of them plain or compressed; from a file or from standard input.
//
// What lives here: telling the formats apart, guarding the readers of gopacket's pcapgo against files that lie, and
// assembling batches whose frames stay valid until Release. What never may: decoding of what is inside a frame, pacing
// (a capture is read as fast as it goes, in the time of its packets), the clock, and anything of ours above core/zone.
//
// A capture is untrusted input. Whatever it holds, reading it needs bounded memory, ends in io.EOF or in an [Error] that
// names the packet, and never panics.
package capture
