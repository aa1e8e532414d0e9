package nats_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/nats"
)

func TestMain(m *testing.M) {
	if node := os.Getenv(childNode); node != "" {
		runNode(node)
		return
	}
	goleak.VerifyTestMain(m)
}

// startServer starts a server with JetStream in this process. change may be nil.
func startServer(tb testing.TB, change func(*server.Options)) *server.Server {
	tb.Helper()
	o := &server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: tb.TempDir(), NoLog: true, NoSigs: true,
	}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		tb.Fatal("the server is not ready")
	}
	return s
}

// newSink makes a sink from its table.
func newSink(tb testing.TB, table string, args ...any) sdk.Sink {
	tb.Helper()
	return sinkcheck.New(tb, nats.Plugin(), fmt.Sprintf(table, args...))
}

// dial returns a JetStream context of its own.
func dial(tb testing.TB, url string, opts ...natsgo.Option) jetstream.JetStream {
	tb.Helper()
	nc, err := natsgo.Connect(url, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		closed := make(chan struct{})
		nc.SetClosedHandler(func(*natsgo.Conn) { close(closed) })
		nc.Close()
		<-closed
	})
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

// stored is a message as it is in the stream.
type stored struct {
	subject string
	header  natsgo.Header
	data    []byte
}

// contents returns every message of a stream in order.
func contents(tb testing.TB, js jetstream.JetStream, name string) (list []stored) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	var s jetstream.Stream
	untilAble(tb, ctx, func(ctx context.Context) (err error) {
		s, err = js.Stream(ctx, name)
		return err
	})
	total := int(s.CachedInfo().State.Msgs)
	if total == 0 {
		return nil
	}
	var consumer jetstream.Consumer
	untilAble(tb, ctx, func(ctx context.Context) (err error) {
		consumer, err = s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
		return err
	})
	it, err := consumer.Messages()
	if err != nil {
		tb.Fatal(err)
	}
	defer it.Stop()
	for len(list) < total {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			tb.Fatalf("after %d of %d messages: %v", len(list), total, err)
		}
		list = append(list, stored{m.Subject(), m.Headers(), m.Data()})
	}
	return list
}

// untilAble asks a cluster until it can answer: where a server is missing, or has just gone, it cannot for a while.
func untilAble(tb testing.TB, ctx context.Context, ask func(ctx context.Context) error) {
	tb.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := ask(try)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("the cluster cannot: %v", err)
		}
	}
}

// numbered returns n records of which every third is a denial.
func numbered(n int) []event.Record {
	all := make([]event.Record, n)
	for i := range all {
		kind := event.SessionOpen
		if i%3 == 2 {
			kind = event.PolicyDeny
		}
		all[i] = sinktest.Record(kind, uint64(i))
	}
	return all
}

// sequences returns the sequence numbers of the records in a message whose data are frames.
func sequences(tb testing.TB, m stored) (list []event.Seq) {
	tb.Helper()
	for b := m.data; len(b) > 0; {
		var r event.Record
		n, err := r.Decode(b)
		if err != nil {
			tb.Fatalf("message %v: %v", m.header, err)
		}
		list = append(list, r.Seq())
		b = b[n:]
	}
	return list
}

// wantAll fails unless the records from 1 to n are in the messages, each once.
func wantAll(tb testing.TB, messages []stored, n int) {
	tb.Helper()
	times := make([]int, n+1)
	for _, m := range messages {
		for _, seq := range sequences(tb, m) {
			if seq == 0 || int(seq) > n {
				tb.Fatalf("record %d, and there are %d", seq, n)
			}
			times[seq]++
		}
	}
	missing, twice := 0, 0
	for _, t := range times[1:] {
		switch {
		case t == 0:
			missing++
		case t > 1:
			twice++
		}
	}
	if missing+twice > 0 {
		tb.Errorf("of %d records %d are missing and %d are there more than once", n, missing, twice)
	}
}

func encoder(tb testing.TB, name string) format.Encoder {
	tb.Helper()
	enc, err := format.New(format.Options{Format: name, Hostname: "fw1"})
	if err != nil {
		tb.Fatal(err)
	}
	return enc
}
