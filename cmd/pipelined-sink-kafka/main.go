// Command pipelined-sink-kafka is the sink "kafka" as an executable: pipelined starts it for plugin = "kafka". It is not part of
// the daemon so that the daemon does not carry a client for Kafka.
package main

import (
	"github.com/rtflow/pipelined/sdk/sinkplugin"
	"github.com/rtflow/pipelined/sinks/kafka"
)

func main() { sinkplugin.Serve(kafka.Plugin()) }
