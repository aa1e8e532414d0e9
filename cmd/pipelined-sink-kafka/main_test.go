package main

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rtflow/pipelined/internal/testing/plugintest"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

func startCluster(t *testing.T) (c *kfake.Cluster, brokers string) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, `brokers = ["` + strings.Join(c.ListenAddrs(), `", "`) + "\"]\n"
}

// TestConform is what every sink owes the daemon, and every executable, tried on ours.
func TestConform(t *testing.T) {
	c, brokers := startCluster(t)
	if err := c.CreateTopic("pipelined", 3, nil); err != nil {
		t.Fatal(err)
	}
	plugintest.Conform(t, plugintest.Build(t, "kafka"), "kafka", brokers)
}

// TestP6Killed kills the process again and again with records on their way. None is missing in the topic, what is there twice
// can be told, and each flow is in order.
func TestP6Killed(t *testing.T) {
	c, brokers := startCluster(t)
	if err := c.CreateTopic("killed", 3, nil); err != nil {
		t.Fatal(err)
	}
	sink := plugintest.New(t, plugintest.Build(t, "kafka"), "kafka", brokers+"topic = \"killed\"")
	records := make([]event.Record, 30000)
	for i := range records {
		records[i] = sinktest.Record(event.SessionOpen, uint64(i%500))
	}
	n := plugintest.KillUnderLoad(t, sink, records, 5)

	times := make([]int, n+1)
	last := map[string]int{}
	for _, r := range contents(t, c, "killed") {
		seq := 0
		for _, h := range r.Headers {
			if h.Key == "Pipelined-Sequence" {
				seq, _ = strconv.Atoi(string(h.Value))
			}
		}
		if seq < 1 || seq > n {
			t.Fatalf("record %d of %d", seq, n)
		}
		if times[seq]++; times[seq] == 1 {
			if seq < last[string(r.Key)] {
				t.Fatalf("the flow %s has record %d behind %d", r.Key, seq, last[string(r.Key)])
			}
			last[string(r.Key)] = seq
		}
	}
	missing, twice := 0, 0
	for _, k := range times[1:] {
		switch {
		case k == 0:
			missing++
		case k > 1:
			twice++
		}
	}
	if missing > 0 {
		t.Errorf("of %d records %d are missing", n, missing)
	}
	t.Logf("%d records, %d there more than once", n, twice)
}

// contents returns every record of a topic; those of a partition in order.
func contents(t *testing.T, c *kfake.Cluster, topic string) (list []*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	total := 0
	for _, p := range c.PartitionInfos(topic) {
		total += int(p.HighWatermark)
	}
	for len(list) < total {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		list = append(list, fetches.Records()...)
	}
	return list
}
