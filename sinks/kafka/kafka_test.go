package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rtflow/pipelined/internal/inflight"
	"github.com/rtflow/pipelined/internal/testing/ports"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/kafka"
)

func TestConform(t *testing.T) {
	c := startCluster(t)
	var topics atomic.Int32
	for _, options := range []string{"", "max_in_flight = 1\nlinger = \"0s\"", "format = \"rfc5424\"\ncompression = \"zstd\""} {
		t.Run(options, func(t *testing.T) {
			sinktest.Conform(t, func(t *testing.T) sdk.Sink {
				name := fmt.Sprintf("conform-%d", topics.Add(1))
				if err := c.CreateTopic(name, 4, nil); err != nil {
					t.Fatal(err)
				}
				return newSink(t, c, "topic = %q\n%s", name, options)
			})
		})
	}
}

// TestRecords looks at what is in the topics: name, key, value and headers of each event.
func TestRecords(t *testing.T) {
	c := startCluster(t, kfake.AllowAutoTopicCreation())
	for _, name := range format.Names() {
		sink := newSink(t, c, "format = %q\ntopic = \"{host}.%s.{kind}.{zone}\"\ncreate_topics = true", name, name)
		records := append(sinktest.Records(7, 200), sinktest.Record(event.Loss, 1))
		names := sinktest.Names()
		names.Zones[2] = "un/trusted_2e"
		run := sinktest.NewStream(t)
		run.SetNames(names)
		run.Append(records...)
		run.Drain()
		if err := run.Run(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		zones := map[uint16]string{1: "trust", 2: "un_2ftrusted_5f2e"}
		topics := map[string]bool{}
		for i := range records {
			topics[fmt.Sprintf("fw1.%s.%s.%s", name, records[i].Kind(), zones[records[i].InZone()])] = true
		}
		var list []string
		for topic := range topics {
			list = append(list, topic)
		}
		got := contents(t, c, list...)
		if len(got) != len(records) {
			t.Fatalf("%s: %d records of %d events", name, len(got), len(records))
		}
		for _, m := range got {
			seq, err := strconv.Atoi(header(m, "Pipelined-Sequence"))
			if err != nil || seq < 1 || seq > len(records) {
				t.Fatalf("the sequence is %q", header(m, "Pipelined-Sequence"))
			}
			r := &records[seq-1]
			r.SetSeq(event.Seq(seq))
			if want := encoder(t, name).Append(nil, r, names); !bytes.Equal(m.Value, want) {
				t.Errorf("%s:\n%q, want\n%q", name, m.Value, want)
			}
			if want := fmt.Sprintf("fw1.%s.%s.%s", name, r.Kind(), zones[r.InZone()]); m.Topic != want {
				t.Errorf("topic %s, want %s", m.Topic, want)
			}
			for key, want := range map[string]string{
				"Pipelined-Host": "fw1", "Pipelined-Sink": "broker", "Pipelined-Epoch": "1", "Pipelined-Kind": r.Kind().String(),
			} {
				if got := header(m, key); got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
			if r.Kind() == event.Loss && string(m.Key) != "loss" || r.Kind() != event.Loss && !bytes.Contains(m.Key, []byte(r.Src().String())) {
				t.Errorf("%s has the key %q", r.Kind(), m.Key)
			}
		}
	}
}

// TestFailures lets brokers fail in every way that the client gets over, under load.
func TestFailures(t *testing.T) {
	var n network
	c := startCluster(t, n.option(), kfake.SeedTopics(6, "pipelined"))
	sink := newSink(t, c, "format = \"frames\"\nmax_in_flight = 1000")
	const total = 40000
	run := sinktest.NewStream(t)
	run.Append(sessions(total)...)
	run.Drain()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	faults := []func(){
		n.cut,
		func() {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 5})
		},
		// Written, and not confirmed: the producer's own retry is dropped by the broker.
		func() { c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 5}) },
		func() { c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 3}) },
		c.ShufflePartitionLeaders,
		func() {
			if err := c.RemoveNode(c.LeaderFor("pipelined", 0)); err != nil {
				t.Error(err)
			}
		},
		n.cut,
	}
	injected := make(chan int, 1)
	go func() {
		done := 0
		defer func() { injected <- done }()
		for i, fault := range faults {
			if run.WaitAcked(ctx, event.Seq((i+1)*4000)) != nil {
				return
			}
			fault()
			done++
		}
	}()
	failures := sinkcheck.KeepRunning(ctx, t, run, sink)
	if got := <-injected; got != len(faults) || run.Acked() != total {
		t.Errorf("acknowledged up to %d, %d of %d faults", run.Acked(), got, len(faults))
	}
	if twice := wantAll(t, contents(t, c, "pipelined"), total); twice > 1000*failures {
		t.Errorf("%d are there twice after %d failures: more than can be in flight", twice, failures)
	}
	if sinkcheck.Counter(t, sink, "disconnects") == 0 {
		t.Error("no connection was lost")
	}
}

// TestFails has a broker that refuses for good: the run ends, with the broker's reason, and when it is over all is delivered.
func TestFails(t *testing.T) {
	c := startCluster(t, kfake.SeedTopics(2, "pipelined"))
	sink := newSink(t, c, "format = \"frames\"")
	run := sinktest.NewStream(t)
	run.Append(sessions(1000)...)
	run.Drain()
	fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	if err := run.Run(t.Context(), sink); !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "topic pipelined") {
		t.Errorf("Run = %v", err)
	}
	if run.Acked() > 0 || len(run.Rejected()) > 0 {
		t.Errorf("acknowledged up to %d, rejected %v", run.Acked(), run.Rejected())
	}
	fault.Remove()
	if err := run.Run(t.Context(), sink); err != nil {
		t.Fatal(err)
	}
	wantAll(t, contents(t, c, "pipelined"), 1000)
}

// TestHangs ends a run whose brokers are there and say nothing any more. What they had is there twice and can be told.
func TestHangs(t *testing.T) {
	var n network
	c := startCluster(t, n.option(), kfake.SeedTopics(3, "pipelined"))
	sink := newSink(t, c, "format = \"frames\"\nack_timeout = \"3s\"\nmax_in_flight = 500")
	run := sinktest.NewStream(t)
	run.Append(sessions(2000)...)
	done := sinkcheck.Start(t.Context(), t, run, sink, 2000)
	n.mute.Store(true)
	run.Append(sessions(4000)[2000:]...)
	var stall *inflight.StallError
	if err := <-done; !errors.As(err, &stall) {
		t.Errorf("Run = %v, want a StallError", err)
	}
	// Only this one is impatient: the others have to connect, on a busy machine as well.
	if err := run.Run(t.Context(), newSink(t, c, "connect_timeout = \"1s\"")); err == nil || !strings.Contains(err.Error(), "no broker of") {
		t.Errorf("Run = %v, connected to brokers that say nothing", err)
	}
	// Its context ends a run that is connecting.
	slow := newSink(t, c, "connect_timeout = \"10m\"")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run.Run(ctx, slow) }()
	stop()
	if err := <-ended; err == nil {
		t.Error("connected to brokers that say nothing")
	}
	n.mute.Store(false)
	n.cut()
	run.Drain()
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := sinkcheck.KeepRunning(within, t, run, sink)
	if twice := wantAll(t, contents(t, c, "pipelined"), 4000); twice == 0 || twice > 500*(1+again) {
		t.Errorf("%d are there twice, want some and at most max_in_flight of each failure", twice)
	}
}

// TestGone has no broker at all.
func TestGone(t *testing.T) {
	sink, problems := sinkcheck.Load(kafka.Plugin(), "brokers = [\"127.0.0.1:"+ports.Reserve(t)+"\"]\nconnect_timeout = \"2s\"", sdk.Env{})
	if problems != "" {
		t.Fatal(problems)
	}
	if err := sinktest.NewStream(t).Run(t.Context(), sink); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Run = %v", err)
	}
	if s := sink.(sdk.Reporter).Status().(kafka.Status); !strings.Contains(s.LastError, "connection refused") {
		t.Errorf("status %+v", s)
	}
}

// TestUnknownTopic has a topic that does not exist: Run says so.
func TestUnknownTopic(t *testing.T) {
	c := startCluster(t)
	run := sinktest.NewStream(t)
	run.Append(sessions(10)...)
	err := run.Run(t.Context(), newSink(t, c, "topic = \"nobody\""))
	if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "topic nobody") || len(run.Rejected()) > 0 {
		t.Errorf("Run = %v", err)
	}
}

// TestRejects has records that a broker never takes, in batches with others: they are found and rejected, with a reason, and
// the others are delivered.
func TestRejects(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    *kerr.Error
		reason string
	}{
		{"invalid", kerr.InvalidRecord, "INVALID_RECORD"},
		{"too large", kerr.MessageTooLarge, "MESSAGE_TOO_LARGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := startCluster(t, kfake.SeedTopics(3, "pipelined"))
			// Whatever batch holds a record of this flow is refused.
			poison := []byte("10.0.0.77:")
			cluster.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Err: c.err, Count: -1,
				When: func(request kmsg.Request) bool {
					for _, topic := range request.(*kmsg.ProduceRequest).Topics {
						for _, p := range topic.Partitions {
							if bytes.Contains(p.Records, poison) {
								return true
							}
						}
					}
					return false
				},
			})
			sink := newSink(t, cluster, "format = \"frames\"\ncompression = \"none\"\nmax_in_flight = 100")
			run := sinktest.NewStream(t)
			run.Append(sessions(1000)...) // five of that flow: 78, 278, …
			run.Drain()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			sinkcheck.KeepRunning(ctx, t, run, sink)
			rejected := run.Rejected()
			for seq := event.Seq(78); seq <= 1000; seq += 200 {
				if !strings.Contains(rejected[seq], c.reason) {
					t.Errorf("%d is rejected for %q, want %s", seq, rejected[seq], c.reason)
				}
			}
			if len(rejected) != 5 || run.Acked() != 1000 {
				t.Errorf("%d rejected, acknowledged up to %d", len(rejected), run.Acked())
			}
			seen := map[string]bool{}
			for _, r := range contents(t, cluster, "pipelined") {
				seen[header(r, "Pipelined-Sequence")] = true
			}
			if len(seen) != 995 {
				t.Errorf("%d records are there, want 995", len(seen))
			}
		})
	}
}

// TestSmallBatches has a topic that takes smaller batches than the sink makes: they become smaller, and nothing is rejected.
func TestSmallBatches(t *testing.T) {
	c := startCluster(t)
	if err := c.CreateTopic("pipelined", 1, map[string]string{"max.message.bytes": "20000"}); err != nil {
		t.Fatal(err)
	}
	sink := newSink(t, c, "format = \"frames\"\ncompression = \"none\"\nbatch_bytes = \"150kB\"\nmax_in_flight = 1000")
	run := sinktest.NewStream(t)
	run.Append(sessions(5000)...)
	run.Drain()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if failures := sinkcheck.KeepRunning(ctx, t, run, sink); failures == 0 {
		t.Error("no batch was too large: this test shows nothing")
	}
	if len(run.Rejected()) > 0 || run.Acked() != 5000 {
		t.Errorf("rejected %v, acknowledged up to %d", run.Rejected(), run.Acked())
	}
	seen := map[string]bool{}
	for _, r := range contents(t, c, "pipelined") {
		seen[header(r, "Pipelined-Sequence")] = true
	}
	if len(seen) != 5000 {
		t.Errorf("%d records are there", len(seen))
	}
}

// TestLongTopic: a name that Kafka does not take is the record's fault.
func TestLongTopic(t *testing.T) {
	c := startCluster(t, kfake.AllowAutoTopicCreation())
	sink := newSink(t, c, "topic = \"{zone}\"\ncreate_topics = true")
	names := sinktest.Names()
	names.Zones[1], names.Zones[2] = strings.Repeat("z", 300), ".."
	run := sinktest.NewStream(t)
	run.SetNames(names)
	run.Append(sinktest.Record(event.SessionOpen, 1), sinktest.Record(event.PolicyDeny, 1), sinktest.Record(event.Loss, 1))
	run.Drain()
	if err := run.Run(t.Context(), sink); err != nil {
		t.Fatal(err)
	}
	if r := run.Rejected(); !strings.Contains(r[1], "300 bytes") || !strings.Contains(r[2], "no name") || len(r) != 3 {
		t.Errorf("rejected %v", r)
	}
}
