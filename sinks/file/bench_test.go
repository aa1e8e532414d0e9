package file_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/collectors"
	"github.com/rtflow/pipelined/internal/testing/ports"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/file"
)

// denies are the records that are written: of 650 bytes as rfc5424.
func denies() []event.Record {
	records := make([]event.Record, 1024)
	for i := range records {
		records[i] = sinktest.Record(event.PolicyDeny, uint64(i))
	}
	return records
}

// cpuTime returns the CPU time of this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchmark(b *testing.B, sink sdk.Sink) {
	s := sinktest.NewStream(b)
	s.Append(denies()...)
	s.SetBatch(1024)
	s.Repeat(b.N)
	s.Drain()
	before := cpuTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	if err := s.Run(b.Context(), sink); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/msg")
	if got := s.Acked(); got != event.Seq(b.N) {
		b.Fatalf("acknowledged up to %d of %d", got, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkFileSink writes RT_FLOW_SESSION_DENY records to a file that rotates, end to end, the fake stream's copy included.
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

// BenchmarkRsyslogFile lets rsyslogd write the same messages, received over TCP, to a file. Its CPU time is reported.
func BenchmarkRsyslogFile(b *testing.B) {
	port := ports.Reserve(b)
	d := collectors.Rsyslog(b, fmt.Sprintf(`
global(workDirectory="DIR" net.enableDNS="off")
main_queue(queue.type="FixedArray" queue.size="50000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
module(load="imptcp" threads="1")
input(type="imptcp" port=%q address="127.0.0.1")
template(name="raw" type="string" string="%%rawmsg%%\n")
action(type="omfile" file="DIR/out" template="raw" ioBufferSize="256k")
`, port))
	d.Start("tcp:" + port)
	enc := encoder(b, format.RFC5424)
	var messages []string
	for _, r := range denies() {
		messages = append(messages, string(enc.Append(nil, &r, sinktest.Names())))
	}
	before := d.CPU()
	b.ResetTimer()
	bytes := int64(collectors.Feed(b, "tcp", "127.0.0.1:"+port, messages, b.N) + b.N)
	await.Until(b, "the collector has written everything", func() bool {
		info, err := os.Stat(d.Path("out"))
		return err == nil && info.Size() >= bytes
	})
	b.StopTimer()
	b.ReportMetric(float64((d.CPU()-before).Nanoseconds())/float64(b.N), "cpu-ns/msg")
}
