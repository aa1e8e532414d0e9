// Package format turns event records into bytes: Juniper-style syslog lines (RFC 5424, and the older RFC 3164), JSON in Elastic
// Common Schema terms, short lines for people, and the wire frames as they are.
//
// It writes nowhere, reads no clock, and knows nothing of how a transport frames messages (octet counting belongs to
// the syslog sink).
//
// An [Encoder] is immutable: any number of goroutines may use one. It allocates nothing but what dst needs to grow.
//
// # Characters
//
// Names come from a configuration file and end up in files, terminals and parsers, so every format treats them alike before
// it escapes what its own grammar wants escaped. A name is cut to 128 bytes at a rune border. Control characters (C0, DEL
// and C1) and those that change the direction of text become '?': a newline inside a value would end the line. Each byte that is not UTF-8 becomes U+FFFD.
package format
