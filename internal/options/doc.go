// Package options holds options that many sinks share, so that their names, meanings and messages are the same in all of them:
// the format of a message, TLS and secrets.
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
