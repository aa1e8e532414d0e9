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
//	receiver.go    the receiver: its options, what it calls, pause, resume, drain
//	accept.go      connections, accepted or dialled, one after the other
//	connection.go  one connection: read, settle, acknowledge
//	handle.go      what becomes of each frame; duplicates and gaps
//	stats.go       what is counted
//	socket.go      a Unix socket to listen on
//	watched.go     the same, made again when somebody removes it
//
// # The receiver
//
// What a [Receiver] promises:
//
//   - It acknowledges a record after the handler has returned from it, never before, and never past one that it has not
//     handled. Frames that nobody can handle are counted and acknowledged in their turn, so that they do not come again
//     for ever.
//   - The handler sees a record once, over any number of connections; over restarts of the program too, if it notes the
//     position in [Handler.Commit] together with what it has made of the records.
//   - Every number that is missing is reported, and whether the stream has accounted for it.
//   - Its memory does not depend on what the producer sends.
//
// The package is public. The producing end is the sink "unixsock" (sinks/unixsock).
package eventstream
