package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// BenchmarkKafka produces to brokers in the same process that keep everything in memory, end to end: until they have
// acknowledged.
func BenchmarkKafka(b *testing.B) {
	for _, name := range format.Names() {
		b.Run(name, func(b *testing.B) {
			c := startCluster(b, kfake.SeedTopics(6, "pipelined"))
			sink := newSink(b, c, "format = %q", name)
			sinkcheck.Benchmark(b, sink, sinktest.Records(1, 4096)...)
		})
	}
}
