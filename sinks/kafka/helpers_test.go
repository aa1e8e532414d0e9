package kafka_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startCluster starts three brokers in this process.
func startCluster(tb testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	tb.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// newSink makes a sink on a cluster from the rest of its table.
func newSink(tb testing.TB, c *kfake.Cluster, table string, args ...any) sdk.Sink {
	tb.Helper()
	brokers := `brokers = ["` + strings.Join(c.ListenAddrs(), `", "`) + "\"]\n"
	return sinkcheck.New(tb, kafka.Plugin(), brokers+fmt.Sprintf(table, args...))
}

// contents returns every record of some topics; those of a partition in order.
func contents(tb testing.TB, c *kfake.Cluster, topics ...string) (list []*kgo.Record) {
	tb.Helper()
	total := 0
	for _, name := range topics {
		for _, p := range c.PartitionInfos(name) {
			total += int(p.HighWatermark)
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	for len(list) < total {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			tb.Fatalf("after %d of %d records: %v", len(list), total, err)
		}
		list = append(list, fetches.Records()...)
	}
	return list
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// sessions returns n records of flows that come again and again: open, close, open, ….
func sessions(n int) []event.Record {
	const flows = 200
	all := make([]event.Record, n)
	for i := range all {
		kind := event.SessionOpen
		if i/flows%2 == 1 {
			kind = event.SessionClose
		}
		all[i] = sinktest.Record(kind, uint64(i))
		src, dst := [16]byte{10, 0, 0, byte(i % flows)}, [16]byte{203, 0, 113, 7}
		all[i].SetFlow(event.FamilyIPv4, 6, &src, &dst, uint16(40000+i%flows), 443)
	}
	return all
}

// wantAll fails unless the records from 1 to n are there, those of one key in one partition and in order, apart from those
// that are there twice. It returns how many are.
func wantAll(tb testing.TB, records []*kgo.Record, n int) (twice int) {
	tb.Helper()
	seen := make([]bool, n+1)
	place := map[string]int32{}
	last := map[string]event.Seq{}
	for _, r := range records {
		var frame event.Record
		if _, err := frame.Decode(r.Value); err != nil {
			tb.Fatal(err)
		}
		seq, key := frame.Seq(), string(r.Key)
		if seq == 0 || int(seq) > n || header(r, "Pipelined-Sequence") != fmt.Sprint(seq) {
			tb.Fatalf("record %d with the sequence %q, and there are %d", seq, header(r, "Pipelined-Sequence"), n)
		}
		if p, ok := place[key]; ok && p != r.Partition {
			tb.Fatalf("the flow %s is in the partitions %d and %d", key, p, r.Partition)
		}
		place[key] = r.Partition
		if seen[seq] {
			twice++
			continue
		}
		seen[seq] = true
		if seq < last[key] {
			tb.Errorf("the flow %s has record %d behind %d", key, seq, last[key])
		}
		last[key] = max(last[key], seq)
	}
	missing := 0
	for _, ok := range seen[1:] {
		if !ok {
			missing++
		}
	}
	if missing > 0 {
		tb.Errorf("of %d records %d are missing", n, missing)
	}
	return twice
}

func encoder(tb testing.TB, name string) format.Encoder {
	tb.Helper()
	enc, err := format.New(format.Options{Format: name, Hostname: "fw1"})
	if err != nil {
		tb.Fatal(err)
	}
	return enc
}
