// Package eventstream implements the frames of the event stream, and a receiver for programs that read it.
//
// The stream runs over a Unix stream socket. The producer, the sink "unixsock", sends numbered records and keeps each
// until the receiver has acknowledged it; when a connection breaks it sends them again on the next. docs/wire.md draws
// every frame and says who sends it when.
//
// # Files
//
//	wire.go     frame types, header, hello
//	reader.go   cuts a stream of bytes into frames
//	delta.go    session frames of the existing protocol (types 1, 2, 3)
//
//	receiver.go    the receiver: its options, what it calls, pause, resume, drain
//	accept.go      connections, accepted or dialled, one after the other
//	connection.go  one connection: read, settle, acknowledge
//	handle.go      handling of each frame by its type; duplicates and gaps
//	stats.go       counters
//	socket.go      a Unix socket to listen on
//	renewing.go    a listener whose socket is made again when somebody removes it
//
// # The receiver
//
// What a [Receiver] promises:
//
//   - It acknowledges a record only after the handler has returned from it and from all records before it. Frames that
//     cannot be handled are counted and acknowledged in their turn, so that the producer does not send them again for ever.
//   - The handler sees a record once, over any number of connections; over restarts of the program too, if it notes the
//     position in [Handler.Commit] together with what it has made of the records.
//   - Every number that is missing is reported, and whether the stream has accounted for it.
//   - Its memory does not depend on what the producer sends.
//
// The package is public. The producing end is the sink "unixsock" (sinks/unixsock).
package eventstream
