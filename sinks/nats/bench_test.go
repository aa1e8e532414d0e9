package nats_test

import (
	"fmt"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// BenchmarkNATS publishes to a server in the same process that stores in a file, end to end: until it has acknowledged.
func BenchmarkNATS(b *testing.B) {
	for _, name := range format.Names() {
		for _, batch := range []int{1, 256} {
			b.Run(fmt.Sprintf("%s/batch=%d", name, batch), func(b *testing.B) {
				s := startServer(b, nil)
				sink := newSink(b, "servers = [%q]\nformat = %q\nbatch = %d\nstream = { name = \"BENCH\", create = true }",
					s.ClientURL(), name, batch)
				sinkcheck.Benchmark(b, sink, sinktest.Records(1, 4096)...)
			})
		}
	}
}
