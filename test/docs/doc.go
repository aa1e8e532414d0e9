// Package docs tests the documentation against the program.
//
// Configurations in the pages load, links have targets, every metric and every key is described, and the examples are what
// the program prints for the shipped capture. Alert rules and the dashboard are about metrics that there are.
//
// The language of a code block says what is checked:
//
//	toml whole      a complete configuration; it checks without a mistake or warning
//	toml part       tables of one; what is missing is completed, see complete
//	toml mistakes   a configuration with mistakes; the next block lists them as `pipelined check` does
//	rfc5424         a line of the shipped capture, wrapped at blanks; "…" stands for what is left out
//	junos-…         the same with that profile
//	rfc3164         the same in that format
//	short           lines of it in the format text
//	sequence        the same with a sequence element and structured filter logs
//	envelope        the same as JSON in RFC 5424
//	json            an object of it, laid out for reading
//	xxd             a frame of it
//	frames          control frames of the event stream, spelled out; see TestWireFrames
//
// In README.md a plain toml block is a part.
package docs
