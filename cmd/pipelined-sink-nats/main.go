// Command pipelined-sink-nats runs the sink "nats" in a process of its own.
//
// The daemon starts it for plugin = "nats". It is a separate executable so that the daemon does not link a client for
// NATS JetStream.
package main

import (
	"github.com/rtflow/pipelined/sdk/sinkplugin"
	"github.com/rtflow/pipelined/sinks/nats"
)

func main() { sinkplugin.Serve(nats.Plugin()) }
