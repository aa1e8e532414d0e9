package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rtflow/pipelined/sdk/event"
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
			run := sinktest.NewStream(b)
			run.Append(sinktest.Records(1, 4096)...)
			run.SetBatch(1024)
			run.Repeat(b.N)
			run.Drain()
			b.ReportAllocs()
			b.ResetTimer()
			if err := run.Run(b.Context(), sink); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if got := run.Acked(); got != event.Seq(b.N) {
				b.Fatalf("acknowledged up to %d of %d", got, b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
