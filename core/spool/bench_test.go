package spool

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func benchRing(b *testing.B) *replay.Ring {
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 2048})
	if err != nil {
		b.Fatal(err)
	}
	return ring
}

func benchSpool(b *testing.B, ring *replay.Ring, mode Sync, size values.Size) *Spool {
	o := DefaultOptions()
	o.Size, o.Path, o.Sync = size, b.TempDir(), mode
	s, err := Open(Config{Options: o, Window: 8192, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	s.Begin(ring, 7, namesOf(7))
	return s
}

// put puts 1024 records into a ring that has room for them.
func put(b *testing.B, ring *replay.Ring, records []event.Record) {
	for i := range records {
		class := replay.ClassOf(records[i].Kind())
		if ring.Acquire(class, 1) != 1 {
			b.Fatal("no credit")
		}
		ring.Put(ring.Claim(1), class, &records[i])
	}
}

func benchRecords() []event.Record {
	records := sinktest.Records(1, 1024)
	for i := range records {
		records[i].Generation = 1
	}
	return records
}

// BenchmarkSpool measures what a record costs from the ring to a sink that keeps up, and does nothing with it: without a spool, and with
// one. The difference is what the spool adds.
func BenchmarkSpool(b *testing.B) {
	records := benchRecords()
	report := func(b *testing.B, begin time.Duration) {
		b.ReportMetric(float64(cpuTime()-begin)/float64(b.N), "cpu-ns/record")
	}
	b.Run("none", func(b *testing.B) {
		ring := benchRing(b)
		begin := cpuTime()
		for n := 0; n < b.N; n += len(records) {
			put(b, ring, records)
			for got := ring.Next(1024); got != nil; got = ring.Next(1024) {
				if err := ring.Ack(got[len(got)-1].Seq()); err != nil {
					b.Fatal(err)
				}
			}
		}
		report(b, begin)
	})
	for _, mode := range []Sync{SyncNone, SyncInterval, SyncBatch} {
		b.Run("sync="+mode.String(), func(b *testing.B) {
			ring := benchRing(b)
			s := benchSpool(b, ring, mode, 1<<30)
			begin := cpuTime()
			for n := 0; n < b.N; n += len(records) {
				put(b, ring, records)
				if _, err := s.take(); err != nil {
					b.Fatal(err)
				}
				for got := s.Next(1024); got != nil; got = s.Next(1024) {
					if err := s.Ack(got[len(got)-1].Seq()); err != nil {
						b.Fatal(err)
					}
				}
			}
			report(b, begin)
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkCatchUp measures how fast a sink gets what is on the disk.
func BenchmarkCatchUp(b *testing.B) {
	records, ring := benchRecords(), benchRing(b)
	s := benchSpool(b, ring, SyncNone, 4<<30)
	for n := 0; n < b.N; n += len(records) {
		put(b, ring, records)
		if _, err := s.take(); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	begin := cpuTime()
	for got := s.Next(1024); got != nil; got = s.Next(1024) {
		if err := s.Ack(got[len(got)-1].Seq()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime()-begin)/float64(b.N), "cpu-ns/record")
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
