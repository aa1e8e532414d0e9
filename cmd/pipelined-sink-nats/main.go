// Command pipelined-sink-nats is the sink "nats" as an executable: pipelined starts it for plugin = "nats". It is not part of
// the daemon so that the daemon does not carry a client for NATS JetStream.
package main

import (
	"github.com/rtflow/pipelined/sdk/sinkplugin"
	"github.com/rtflow/pipelined/sinks/nats"
)

func main() { sinkplugin.Serve(nats.Plugin()) }
