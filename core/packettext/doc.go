// Package packettext reads the text that describes one packet, "tcp 10.0.1.5:40000 > 192.0.2.80:443 in lan0", and builds the frame.
//
// A text is a protocol, the two ends, and after them words, each with one value, in any order and each at most once:
//
//	PROTOCOL SOURCE > DESTINATION [WORD VALUE]...
//
// An end is an address, with a port where the protocol has ports: 192.0.2.80:443, [2001:db8::80]:443. [Words] lists the words.
package packettext
