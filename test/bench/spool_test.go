package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/spool"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/file"
)

// liveRate is how many records a second come while a sink catches up.
const liveRate = 100000

// outage is a sink with a spool whose destination is down, and then back.
type outage struct {
	b       *testing.B
	ring    *replay.Ring
	spool   *spool.Spool
	records []event.Record
	put     int
}

// produce puts records into the ring, and waits for room.
func (o *outage) produce(n int) {
	for range n {
		rec := &o.records[o.put%len(o.records)]
		class := replay.ClassOf(rec.Kind())
		for o.ring.Acquire(class, 1) == 0 {
			o.ring.Wake()
			room := o.ring.Room()
			if o.ring.Acquire(class, 1) == 1 {
				break
			}
			<-room
		}
		o.ring.Put(o.ring.Claim(1), class, rec)
		o.put++
	}
	o.ring.Wake()
}

// produceLive produces at the live rate until done is closed.
func (o *outage) produceLive(done <-chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	begin, from := time.Now(), o.put
	for {
		select {
		case <-tick.C:
			if due := from + int(time.Since(begin).Seconds()*liveRate); due > o.put {
				o.produce(due - o.put)
			}
		case <-done:
			return
		}
	}
}

// BenchmarkOutage fills a spool while nothing is delivered, and measures how fast a file sink then gets what has piled up, with live records
// coming meanwhile. PIPELINED_OUTAGE_BYTES is how much piles up: a day's outage has 8e9.
func BenchmarkOutage(b *testing.B) {
	backlog := int64(8 << 20)
	if n, err := strconv.ParseInt(os.Getenv("PIPELINED_OUTAGE_BYTES"), 10, 64); err == nil {
		backlog = n
	}
	for _, format := range []string{"frames", "rfc5424"} {
		b.Run(format, func(b *testing.B) {
			for range b.N {
				runOutage(b, format, backlog)
			}
		})
	}
}

func runOutage(b *testing.B, format string, backlog int64) {
	options, names := spool.DefaultOptions(), func(uint32) *event.Names { return sinktest.Names() }
	options.Size, options.MinFree, options.Path = values.Size(backlog+backlog/4+spool.MinSize), 0, b.TempDir()
	sp, err := spool.Open(spool.Config{Options: options, Window: 8192, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 2048})
	if err != nil {
		b.Fatal(err)
	}
	sp.Begin(ring, 7, names)
	o := &outage{b: b, ring: ring, spool: sp, records: sinktest.Records(1, 1024)}
	var running sync.WaitGroup
	running.Go(func() { sp.Run(context.Background()) })

	begin := time.Now()
	for sp.State().Bytes < backlog {
		o.produce(1 << 14)
	}
	filled, waiting := time.Since(begin), o.put

	sink := sinkcheck.New(b, file.Plugin(), fmt.Sprintf("path = %q\nformat = %q\nsync = \"none\"\nrotate = { size = \"1GiB\", keep = 1 }",
		filepath.Join(b.TempDir(), "events"), format))
	delivery := deliver.New(deliver.Config{Name: "siem", Sink: sink, Ring: ring, Names: names, Epoch: 7, Spool: sp})
	done := make(chan struct{})
	var live sync.WaitGroup
	live.Go(func() { o.produceLive(done) })
	used := processCPU()
	begin = time.Now()
	running.Go(func() { delivery.Run(context.Background()) })
	for st := sp.State(); int(st.Acked) < waiting; st = sp.State() {
		time.Sleep(time.Millisecond)
	}
	backlogged, cpu := time.Since(begin), processCPU()-used
	for st := sp.State(); st.Held.Total() > liveRate/10; st = sp.State() {
		time.Sleep(time.Millisecond)
	}
	caught := time.Since(begin)
	close(done)
	live.Wait()
	ring.Drain()
	running.Wait()
	if st := sp.State(); st.Acknowledged.Total() != uint64(o.put) || st.Held.Total() != 0 {
		b.Fatalf("%d records were made, %d delivered, %d are held", o.put, st.Acknowledged.Total(), st.Held.Total())
	}
	if err := sp.Close(); err != nil {
		b.Fatal(err)
	}
	rate := float64(waiting) / backlogged.Seconds()
	b.ReportMetric(float64(waiting), "records-waiting")
	b.ReportMetric(float64(waiting)/filled.Seconds(), "spooled/s")
	b.ReportMetric(rate, "delivered/s")
	b.ReportMetric(rate/liveRate, "of-the-live-rate")
	b.ReportMetric(float64(cpu)/float64(waiting), "cpu-ns/record")
	b.ReportMetric(caught.Seconds(), "s-until-live")
}
