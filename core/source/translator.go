package source

import "github.com/rtflow/pipelined/core/packet"

// Translator tells how the host translates flows.
type Translator interface {
	// Translate sets Reply and Found of each question of which the host knows the flow. It may wait for the kernel, and is called
	// by one goroutine. After an error, which is not permanent, what is not found is asked again.
	Translate(questions []Question) error
	// Close closes the translator. Nobody uses it any more.
	Close() error
}

// Question is a flow, as its client sends it.
type Question struct {
	Flow  packet.Tuple
	Reply packet.Tuple // what the server sends
	Found bool
}
