// Package options holds the options that several sinks share: the format of a message, TLS and secrets.
//
// Their names, meanings and error messages are the same in all of these sinks.
//
// A sink embeds or names them in the struct that it decodes its table into:
//
//	type table struct {
//		options.Format
//		TLS *options.TLS `toml:"tls"`
//	}
//
// Nothing here reads a file or touches a destination while a configuration is checked; what an option names is read when
// the sink connects, so that a renewed certificate or password is taken with the next connection.
//
// Options of one sink alone stay with that sink.
package options
