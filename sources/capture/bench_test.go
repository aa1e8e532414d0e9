package capture

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
)

func BenchmarkReadPcap(b *testing.B)   { benchmarkRead(b, false) }
func BenchmarkReadPcapng(b *testing.B) { benchmarkRead(b, true) }

func benchmarkRead(b *testing.B, ng bool) {
	const packets = 20_000
	for _, size := range []int{100, 500} {
		for _, zip := range []bool{false, true} {
			name := fmt.Sprintf("%dB", size)
			capture := written(b, ng, many(packets, size))
			if zip {
				name += "-gzip"
				capture = gzipped(capture)
			}
			path := fileOf(b, capture)
			b.Run(name, func(b *testing.B) {
				var batch packet.Batch
				read := 0
				for b.Loop() {
					s, err := Open(Config{Path: path})
					if err != nil {
						b.Fatal(err)
					}
					for err == nil {
						err = s.Receive(b.Context(), &batch, 0)
						read += batch.N
						s.Release()
					}
					if !errors.Is(err, io.EOF) {
						b.Fatal(err)
					}
					s.Close()
				}
				b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "packets/s")
			})
		}
	}
}

// TestNoAllocationPerBatch holds P7 for the capture source: also for a pcapng whose packets have options.
func TestNoAllocationPerBatch(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	pkts := many(100*packet.BatchSize, 100)
	options := many(100*packet.BatchSize, 100)
	for i := range options {
		options[i].extra = 12
	}
	for name, b := range map[string][]byte{
		"pcap": written(t, false, pkts), "pcapng": ngOf(orders["big"], "lan0", pkts...),
		"pcapng with options": ngOf(orders["little"], "lan0", options...),
	} {
		s, err := Open(Config{Path: fileOf(t, b)})
		if err != nil {
			t.Fatal(err)
		}
		var batch packet.Batch
		ctx := t.Context()
		allocs := testing.AllocsPerRun(90, func() {
			if err := s.Receive(ctx, &batch, 0); err != nil || batch.N != packet.BatchSize {
				t.Fatalf("%s: %d frames, %v", name, batch.N, err)
			}
			s.Release()
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations per batch", name, allocs)
		}
		s.Close()
	}
}
