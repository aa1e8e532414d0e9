package file_test

import (
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/rtflow/pipelined/internal/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/file"
)

func benchmark(b *testing.B, sink sdk.Sink) {
	records := make([]event.Record, 1024)
	for i := range records {
		records[i] = sinktest.Record(event.SessionClose, uint64(i))
	}
	sinkcheck.Benchmark(b, sink, records...)
}

// BenchmarkFileSink writes RT_FLOW_SESSION_CLOSE records to a file that rotates, end to end, the fake stream's copy included.
func BenchmarkFileSink(b *testing.B) {
	for _, name := range format.Names() {
		for _, mode := range []string{"none", "interval", "batch"} {
			b.Run(name+"/"+mode, func(b *testing.B) {
				benchmark(b, newSink(b, filepath.Join(b.TempDir(), "log.txt"),
					fmt.Sprintf("format = %q\nsync = %q\nrotate = { size = \"64MB\", keep = 1 }", name, mode)))
			})
		}
	}
}

// BenchmarkWriterSink is the same without a file.
func BenchmarkWriterSink(b *testing.B) {
	benchmark(b, file.NewWriter(io.Discard, encoder(b, format.RFC5424)))
}
