package nats_test

import (
	"fmt"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// BenchmarkNATS publishes to a server in the same process that stores in a file, end to end: until it has acknowledged.
func BenchmarkNATS(b *testing.B) {
	for _, name := range format.Names() {
		for _, batch := range []int{1, 256} {
			b.Run(fmt.Sprintf("%s/batch=%d", name, batch), func(b *testing.B) {
				s := startServer(b, nil)
				sink := newSink(b, "servers = [%q]\nformat = %q\nbatch = %d\nstream = { name = \"BENCH\", create = true, duplicates = \"1s\" }\nack_timeout = \"500ms\"",
					s.ClientURL(), name, batch)
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
}
