// Package capture is the source of frames that reads packet captures.
//
// It reads pcap in both byte orders, with microseconds or nanoseconds, and pcapng; either of them plain or compressed; from a
// file, a FIFO or standard input. It does not decode what is inside a frame, and does not pace: a capture is read as fast as it
// goes, in the time of its packets.
//
// A capture is untrusted input. Whatever it holds, reading it needs bounded memory, ends in io.EOF or in an [Error] that
// names the packet, and never panics.
//
// # Files
//
//	plugin.go  what is registered; options to source
//	options.go the table and its checks
//	source.go  one capture: opened, handed over in batches, closed
//	status.go  its counters for operators and metrics
//	pump.go    reading ahead from a pipe
//	fifo.go    a FIFO that has no writer yet
//	stage.go   the memory of a batch
//	input.go   records of a capture, with the times that they get
//	clock.go   those times, whatever the stamps are
//	format.go  which format a capture has
//	classic.go pcap
//	ng.go      pcapng, by gopacket
//	blocks.go  pcapng's lengths, checked before gopacket believes them
//	links.go   link types
//	errors.go  why a capture cannot be read
package capture
