// Command kafka-consumer reads what the sink "kafka" has produced, in any format. It counts each event once, however often
// it is there, and says which sequence numbers are missing.
//
//	go run ./examples/kafka-consumer -brokers 127.0.0.1:9092 -topic pipelined
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	brokers := flag.String("brokers", "127.0.0.1:9092", "addresses of brokers, separated by commas")
	topic := flag.String("topic", "pipelined", "a topic, or a regular expression with -regex")
	regex := flag.Bool("regex", false, "read every topic that matches")
	show := flag.Bool("show", false, "print the values")
	quiet := flag.Duration("quiet", 5*time.Second, "stop when nothing has come for so long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	opts := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(*brokers, ",")...),
		kgo.ConsumeTopics(*topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}
	if *regex {
		opts = append(opts, kgo.ConsumeRegex())
	}
	if err := run(ctx, opts, *show, *quiet); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, opts []kgo.Opt, show bool, quiet time.Duration) error {
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	seen := make(seen)
	for {
		poll, cancel := context.WithTimeout(ctx, quiet)
		fetches := client.PollFetches(poll)
		cancel()
		if err := fetches.Err0(); errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			seen.print()
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			first, err := seen.take(r)
			if err != nil {
				return err
			}
			if first && show {
				fmt.Printf("%s\n", r.Value)
			}
		}
	}
}

// stream names a sink's sequence numbers: they begin at 1 in each run of each daemon.
type stream struct{ host, sink, epoch string }

// seen is what came from each. A consumer that runs for ever keeps as many sequence numbers as can come twice: those that
// the sink can have in flight.
type seen map[stream]*account

type account struct {
	kinds    map[string]int
	seqs     map[uint64]bool
	highest  uint64
	repeated int
}

// take counts a record and reports whether it is there for the first time.
func (s seen) take(r *kgo.Record) (first bool, err error) {
	header := make(map[string]string)
	for _, h := range r.Headers {
		header[h.Key] = string(h.Value)
	}
	seq, err := strconv.ParseUint(header["Pipelined-Sequence"], 10, 64)
	if err != nil {
		return false, fmt.Errorf("topic %s, partition %d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	from := stream{header["Pipelined-Host"], header["Pipelined-Sink"], header["Pipelined-Epoch"]}
	a := s[from]
	if a == nil {
		a = &account{kinds: make(map[string]int), seqs: make(map[uint64]bool)}
		s[from] = a
	}
	if a.seqs[seq] {
		a.repeated++
		return false, nil
	}
	a.seqs[seq] = true
	a.highest = max(a.highest, seq)
	a.kinds[header["Pipelined-Kind"]]++
	return true, nil
}

func (s seen) print() {
	for from, a := range s {
		fmt.Printf("%s, sink %s, epoch %s: %d events up to %d, %d missing, %d there more than once\n", from.host, from.sink,
			from.epoch, len(a.seqs), a.highest, a.highest-uint64(len(a.seqs)), a.repeated)
		for kind, n := range a.kinds {
			fmt.Printf("%14s %d\n", kind, n)
		}
	}
}
