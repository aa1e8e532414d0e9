package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/spool"
	"github.com/rtflow/pipelined/internal/testing/collectors"
	"github.com/rtflow/pipelined/internal/testing/ports"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/syslog"
)

// destination is one that counts lines.
type destination struct {
	b   *testing.B
	n   chan int // lines of each read
	all net.Listener
}

// countLines listens on a port.
func countLines(b *testing.B, port string) *destination {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	c := &destination{b: b, n: make(chan int, 1024), all: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				buf := make([]byte, 1<<20)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					c.n <- bytes.Count(buf[:n], []byte("\n"))
				}
			}()
		}
	}()
	return c
}

// wait waits until n lines have come.
func (c *destination) wait(n int) {
	deadline := time.After(10 * time.Minute)
	for n > 0 {
		select {
		case k := <-c.n:
			n -= k
		case <-deadline:
			c.b.Fatalf("%d lines do not come", n)
		}
	}
}

// relays are collectors that take lines of TCP on PORT and send them on to 127.0.0.1:TO, in memory and with a queue on the disk.
var relays = []struct {
	name         string
	new          func(tb testing.TB, config string) *collectors.Daemon
	memory, disk string
}{
	{
		"rsyslog", collectors.Rsyslog,
		`action(type="omfwd" target="127.0.0.1" port="TO" protocol="tcp" template="T" action.resumeRetryCount="-1" action.resumeInterval="1"
  queue.type="LinkedList" queue.size="2000000" queue.highWatermark="1999999" queue.dequeueBatchSize="1024" queue.timeoutEnqueue="60000")`,
		`action(type="omfwd" target="127.0.0.1" port="TO" protocol="tcp" template="T" action.resumeRetryCount="-1" action.resumeInterval="1"
  queue.type="LinkedList" queue.filename="q" queue.size="10000" queue.highWatermark="2000" queue.lowWatermark="1000" queue.maxDiskSpace="20g"
  queue.dequeueBatchSize="1024" queue.timeoutEnqueue="60000")`,
	},
	{
		"syslog-ng", collectors.SyslogNG,
		`log-fifo-size(2000000)`,
		`disk-buffer(disk-buf-size(8589934592) mem-buf-length(1000) reliable(no) dir("DIR"))`,
	},
}

// relayConfig puts the configuration of a queue into that of its relay.
func relayConfig(relay, queue, port, to string) string {
	text := `@version: 3.38
options { time-reopen(1); };
source s { syslog(ip("127.0.0.1") port(PORT) transport("tcp") log-iw-size(100000) log-fetch-limit(1000)); };
destination d { network("127.0.0.1" port(TO) template("$MSG\n") ` + queue + `); };
log { source(s); destination(d); flags(flow-control); };
`
	if relay == "rsyslog" {
		text = `global(workDirectory="DIR" net.enableDNS="off")
module(load="imptcp" threads="1")
template(name="T" type="string" string="%rawmsg%\n")
input(type="imptcp" address="127.0.0.1" port="PORT" ruleset="r")
ruleset(name="r") { ` + queue + ` }
`
	}
	return string(bytes.ReplaceAll(bytes.ReplaceAll([]byte(text), []byte("PORT"), []byte(port)), []byte("TO"), []byte(to)))
}

// BenchmarkDiskQueues measures what a record costs from the input to a destination that is up, in memory, and to one that is down until all
// records are there, through the disk: of pipelined from the ring of a sink on, of rsyslog and syslog-ng from a line of TCP on. What the disk
// adds can be compared. PIPELINED_QUEUE_RECORDS is how many records: the CPU time of the collectors is known to 10 ms.
func BenchmarkDiskQueues(b *testing.B) {
	n := 5000
	if set, err := strconv.Atoi(os.Getenv("PIPELINED_QUEUE_RECORDS")); err == nil {
		n = set
	}
	var lines []string
	enc, err := format.New(format.Options{Format: "rfc5424", Hostname: "fw1"})
	if err != nil {
		b.Fatal(err)
	}
	records, names := sinktest.Records(1, 1024), sinktest.Names()
	for i := range records {
		lines = append(lines, string(enc.Append(nil, &records[i], names)))
	}
	for _, disk := range []bool{false, true} {
		b.Run(fmt.Sprintf("pipelined/disk=%v", disk), func(b *testing.B) {
			for range b.N {
				queueHere(b, records, disk, n)
			}
		})
		for _, r := range relays {
			queue := r.memory
			if disk {
				queue = r.disk
			}
			b.Run(fmt.Sprintf("%s/disk=%v", r.name, disk), func(b *testing.B) {
				for range b.N {
					in, to := ports.Reserve(b), ports.Reserve(b)
					var c *destination
					if !disk {
						c = countLines(b, to)
					}
					d := r.new(b, relayConfig(r.name, queue, in, to))
					d.Start("tcp:" + in)
					before := d.CPU()
					collectors.Feed(b, "tcp", "127.0.0.1:"+in, lines, n)
					if disk {
						for collectors.Unread(in) > 0 {
							time.Sleep(10 * time.Millisecond)
						}
						c = countLines(b, to)
					}
					c.wait(n)
					b.ReportMetric(float64(d.CPU()-before)/float64(n), "cpu-ns/record")
					d.Kill()
				}
			})
		}
	}
}

// queueHere is the same of a sink of ours.
func queueHere(b *testing.B, records []event.Record, disk bool, n int) {
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 2048})
	if err != nil {
		b.Fatal(err)
	}
	to := startReader(b)
	names := func(uint32) *event.Names { return sinktest.Names() }
	c := deliver.Config{
		Name: "siem", Sink: sinkcheck.New(b, syslog.Plugin(), fmt.Sprintf("address = %q", "tcp://"+to)), Ring: ring, Names: names, Epoch: 7,
	}
	var running sync.WaitGroup
	o := &outage{b: b, ring: ring, records: records}
	before := processCPU()
	if disk {
		options := spool.DefaultOptions()
		options.Size, options.MinFree, options.Path = values.Size(n*200+spool.MinSize), 0, b.TempDir()
		if o.spool, err = spool.Open(spool.Config{Options: options, Window: 8192, Now: time.Now}); err != nil {
			b.Fatal(err)
		}
		o.spool.Begin(ring, 7, names)
		running.Go(func() { o.spool.Run(context.Background()) })
		c.Spool = o.spool
		o.produce(n)
		for ring.State().Held > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	delivery := deliver.New(c)
	running.Go(func() { delivery.Run(context.Background()) })
	if !disk {
		o.produce(n)
	}
	ring.Drain()
	running.Wait()
	b.ReportMetric(float64(processCPU()-before)/float64(n), "cpu-ns/record")
	if o.spool != nil {
		if err := o.spool.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
