package sinkv1

import (
	"time"

	"github.com/hashicorp/go-plugin"
)

// Version is the version of the protocol, as the handshake of go-plugin negotiates it.
const Version = 1

// Service is the name under which go-plugin knows the sink.
const Service = "sink"

// Handshake is the cookie by which an executable knows that pipelined has started it. It keeps people from running a
// plugin by hand; it is no secret.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  Version,
		MagicCookieKey:   "PIPELINED_PLUGIN",
		MagicCookieValue: "sink",
	}
}

// Limits of what either side sends, in bytes.
const (
	MaxDown = 64 << 20 // a message to the plugin: names of tens of thousands of policies are the largest
	MaxUp   = 1 << 20  // a message from the plugin
)

// EndTime is how long a process has to end when it is told to, before it is killed.
const EndTime = 700 * time.Millisecond

// MaxProblems is how many mistakes of a configuration a daemon looks at.
const MaxProblems = 100
