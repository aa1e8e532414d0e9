package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/internal/testing/plugintest"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

func startServer(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s
}

// TestConform is what every sink owes the daemon, and every executable, tried on ours.
func TestConform(t *testing.T) {
	s, dir := startServer(t), plugintest.Build(t, "nats")
	for _, options := range []string{"max_in_flight = 1024", "batch = 256"} {
		t.Run(options, func(t *testing.T) {
			name := strings.Fields(options)[0]
			plugintest.Conform(t, dir, "nats", fmt.Sprintf("servers = [%q]\nsubject = \"%s.{kind}\"\nstream = { name = %[2]q, create = true }\n%s",
				s.ClientURL(), name, options))
		})
	}
}

// TestP6Killed kills the process again and again with records on their way. None is missing in the stream. Single events are
// there once; of batches, which a new process may cut differently, each event can be told by its sequence number.
func TestP6Killed(t *testing.T) {
	s, dir := startServer(t), plugintest.Build(t, "nats")
	for _, c := range []struct {
		name, options string
		portion       int
		once          bool
	}{
		{"events", "", 4000, true},
		{"batches", "batch = 100", 40000, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := plugintest.New(t, dir, "nats", fmt.Sprintf("servers = [%q]\nformat = \"frames\"\nsubject = \"%s.{kind}\"\n"+
				"stream = { name = %[2]q, create = true }\n%s", s.ClientURL(), c.name, c.options))
			records := make([]event.Record, c.portion)
			for i := range records {
				records[i] = sinktest.Record(event.SessionOpen, uint64(i))
			}
			n := plugintest.KillUnderLoad(t, sink, records, 5)
			missing, twice := account(t, s, c.name, n)
			if missing > 0 || c.once && twice > 0 {
				t.Errorf("of %d records %d are missing and %d are there more than once", n, missing, twice)
			}
			t.Logf("%d records, %d there more than once", n, twice)
		})
	}
}

// account reads a stream and returns how many of n records are not there, and how many more than once.
func account(t *testing.T, s *server.Server, stream string, n int) (missing, twice int) {
	t.Helper()
	nc, err := natsgo.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, err := js.Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	it, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Stop()
	times := make([]int, n+1)
	for range st.CachedInfo().State.Msgs {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		for b := m.Data(); len(b) > 0; {
			var r event.Record
			size, err := r.Decode(b)
			if err != nil || r.Seq() == 0 || int(r.Seq()) > n {
				t.Fatalf("record %d of %d: %v", r.Seq(), n, err)
			}
			times[r.Seq()]++
			b = b[size:]
		}
	}
	for _, k := range times[1:] {
		switch {
		case k == 0:
			missing++
		case k > 1:
			twice++
		}
	}
	return missing, twice
}
