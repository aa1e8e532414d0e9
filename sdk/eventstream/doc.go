// Package eventstream is the event stream of pipelined from both ends: its frames, and a receiver for whoever wants the
// events in a program of their own.
//
// The stream runs over a Unix stream socket. The producer, the sink "unixsock", sends numbered records and keeps each
// until the receiver has acknowledged it; when a connection breaks it sends them again on the next. docs/wire.md draws
// every frame and says who sends it when.
//
// # Files
//
//	wire.go     frame types, header, hello
//	reader.go   bytes to frames, in whatever pieces they come
//	delta.go    session frames of the existing protocol (types 1, 2, 3)
//
// What lives here: the protocol, and the receiving end. What never may: the producing end (sinks/unixsock), formats, and
// anything of ours but sdk/event. The package is public.
package eventstream
