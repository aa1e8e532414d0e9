// Command pipelined-sink-kafka runs the sink "kafka" in a process of its own.
//
// The daemon starts it for plugin = "kafka". It is a separate executable so that the daemon does not link a client for
// Kafka.
package main

import (
	"github.com/rtflow/pipelined/sdk/sinkplugin"
	"github.com/rtflow/pipelined/sinks/kafka"
)

func main() { sinkplugin.Serve(kafka.Plugin()) }
