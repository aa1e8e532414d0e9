// Command nats-consumer reads what the sink "nats" has published with format = "frames", in batches or one by one. It
// counts each event once, however often it comes, and says which sequence numbers are missing.
//
//	go run ./examples/nats-consumer -server nats://127.0.0.1:4222 -stream EVENTS
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/sdk/event"
)

func main() {
	server := flag.String("server", nats.DefaultURL, "address of a server")
	stream := flag.String("stream", "EVENTS", "name of the stream")
	quiet := flag.Duration("quiet", 2*time.Second, "stop when nothing has come for so long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *server, *stream, *quiet); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, server, stream string, quiet time.Duration) error {
	nc, err := nats.Connect(server)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	// A durable consumer goes on where it stopped; what it has not acknowledged comes again.
	consumer, err := js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: "example", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return err
	}
	seen := make(seen)
	for {
		batch, err := consumer.Fetch(256, jetstream.FetchMaxWait(quiet))
		if err != nil {
			return err
		}
		n := 0
		for m := range batch.Messages() {
			n++
			if err := seen.take(m); err != nil {
				return err
			}
			if err := m.Ack(); err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
			return err
		}
		if n == 0 || ctx.Err() != nil {
			seen.print()
			return nil
		}
	}
}

// stream names a sink's sequence numbers: they begin at 1 in each run of each daemon.
type stream struct{ host, sink, epoch string }

// seen is what came from each. A consumer that runs for ever keeps as many sequence numbers as can come twice: those that
// the sink can have in flight.
type seen map[stream]*account

type account struct {
	kinds    [event.NumKinds]int
	seqs     map[event.Seq]bool
	highest  event.Seq
	repeated int
}

// take counts the frames of a message, each once.
func (s seen) take(m jetstream.Msg) error {
	h := m.Headers()
	from := stream{h.Get("Pipelined-Host"), h.Get("Pipelined-Sink"), h.Get("Pipelined-Epoch")}
	a := s[from]
	if a == nil {
		a = &account{seqs: make(map[event.Seq]bool)}
		s[from] = a
	}
	for b := m.Data(); len(b) > 0; {
		var r event.Record
		n, err := r.Decode(b)
		if err != nil {
			return fmt.Errorf("message %s: %w", h.Get("Nats-Msg-Id"), err)
		}
		b = b[n:]
		if a.seqs[r.Seq()] {
			a.repeated++
			continue
		}
		a.seqs[r.Seq()] = true
		a.highest = max(a.highest, r.Seq())
		a.kinds[r.Kind()]++
	}
	return nil
}

func (s seen) print() {
	for from, a := range s {
		fmt.Printf("%s, sink %s, epoch %s: %d events up to %d, %d missing, %d came again\n", from.host, from.sink, from.epoch,
			len(a.seqs), a.highest, int(a.highest)-len(a.seqs), a.repeated)
		for _, k := range event.Kinds() {
			fmt.Printf("%14s %d\n", k, a.kinds[k])
		}
	}
}
