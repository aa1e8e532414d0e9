// Package format encodes event records as syslog messages, JSON, short lines for people, or wire frames.
//
// Syslog messages are those of Juniper SRX devices, in the form of RFC 5424 or RFC 3164. JSON uses the field names of the
// Elastic Common Schema.
//
// The package writes nowhere, reads no clock, and does not know how a transport frames messages: octet counting belongs to
// the syslog sink.
//
// An [Encoder] is immutable and safe for concurrent use. It allocates only what dst needs to grow.
//
// # Characters
//
// Names come from a configuration file and end up in files, terminals and parsers, so every format cleans them in the same
// way before it escapes what its own grammar demands. A name is cut to 128 bytes at a rune boundary. Control characters (C0,
// DEL and C1) and those that change the direction of text become '?': a newline inside a value would end the line. Each
// byte that is not part of valid UTF-8 becomes U+FFFD.
package format
