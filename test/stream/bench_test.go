package stream

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// countReceiver is a process that receives and does nothing else. It acknowledges every read, or as often as it is told.
func countReceiver() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	every, err := time.ParseDuration(os.Args[2])
	if err != nil {
		fail(err)
	}
	if err := (&eventstream.Receiver{AckEvery: every}).Listen(ctx, os.Args[1]); ctx.Err() == nil {
		fail(err)
	}
}

// bareReceiver is a process that reads from a socket and answers each read with how many bytes it has now.
func bareReceiver() {
	l, err := net.Listen("unix", os.Args[1])
	if err != nil {
		fail(err)
	}
	conn, err := l.Accept()
	if err != nil {
		fail(err)
	}
	total, buf, answer := uint64(0), make([]byte, 256<<10), make([]byte, event.HeaderSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return // the other end has what it wanted
		}
		total += uint64(n)
		binary.LittleEndian.PutUint64(answer, total)
		if _, err := conn.Write(answer); err != nil {
			fail(err)
		}
	}
}

const frameSize = event.FrameSize

// BenchmarkStreamBare is the measure of the event stream: a pair of processes that moves frames through a Unix socket in
// writes of 64 KiB and answers, and knows nothing of what is in them.
func BenchmarkStreamBare(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	c := startChild(b, "bare", path)
	var conn net.Conn
	until(b, "connect", func() (ok bool) {
		var err error
		conn, err = net.Dial("unix", path)
		return err == nil
	})
	const perWrite = 64 << 10 / frameSize
	frames := make([]byte, perWrite*frameSize)
	b.ReportAllocs()
	b.ResetTimer()
	want := uint64((b.N + perWrite - 1) / perWrite * len(frames))
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		buf := make([]byte, 64*event.HeaderSize)
		for got := uint64(0); got < want; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			got = binary.LittleEndian.Uint64(buf[n-event.HeaderSize:])
		}
	}()
	for sent := uint64(0); sent < want; sent += uint64(len(frames)) {
		if _, err := conn.Write(frames); err != nil {
			b.Fatal(err)
		}
	}
	<-answered
	b.StopTimer()
	_ = conn.Close()
	_ = c.Wait()
}

var large = replay.Limits{Slots: 65536, Telemetry: 49152, PerKind: 49152}

// BenchmarkStreamGateToAck is an event's way from the gate through the ring, the sink and a socket to a receiver in
// another process, and that of its acknowledgement back to the ring.
func BenchmarkStreamGateToAck(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	c := startChild(b, "count", path, "0s")
	r := newRig(b, path, large, func(g *admission.Config, _ *deliver.Config) { g.Wait = true })
	r.offer(event.PolicyDeny, 1)
	until(b, "the first acknowledgement", func() bool { return r.ring.Floor() == 2 })
	b.ReportAllocs()
	b.ResetTimer()
	for n := b.N; n > 0; n -= 64 {
		r.offer(event.PolicyDeny, min(n, 64))
	}
	r.finish()
	b.StopTimer()
	c.end(syscall.SIGTERM)
}

// tap is a sink that notes how long each session record takes from admission to acknowledgement. A record's time is that
// of its admission.
type tap struct {
	sdk.Sink
	clock func() int64

	mu      sync.Mutex
	waiting []waiting
	took    []time.Duration
}

type waiting struct {
	seq event.Seq
	at  int64
}

func (s *tap) Run(ctx context.Context, stream sdk.Stream) error {
	return s.Sink.Run(ctx, &tapped{stream, s})
}

type tapped struct {
	sdk.Stream
	tap *tap
}

func (s *tapped) Next(ctx context.Context, wait time.Duration) (sdk.Batch, error) {
	b, err := s.Stream.Next(ctx, wait)
	s.tap.mu.Lock()
	defer s.tap.mu.Unlock()
	for i := range b.Records {
		if rec := &b.Records[i]; rec.Kind() == event.SessionOpen {
			s.tap.waiting = append(s.tap.waiting, waiting{rec.Seq(), rec.Time()})
		}
	}
	return b, err
}

func (s *tapped) Ack(through event.Seq) error {
	now := s.tap.clock()
	s.tap.mu.Lock()
	done := 0
	for ; done < len(s.tap.waiting) && s.tap.waiting[done].seq <= through; done++ {
		s.tap.took = append(s.tap.took, time.Duration(now-s.tap.waiting[done].at))
	}
	s.tap.waiting = slices.Delete(s.tap.waiting, 0, done)
	s.tap.mu.Unlock()
	return s.Stream.Ack(through)
}

// BenchmarkStreamSessionLatency storms the gate at full speed in three kinds and 64 zones, and admits a session record
// about every 200 microseconds between. It reports how long these take from admission to acknowledgement, with a receiver
// that acknowledges every read and one that does so every 100 ms, and how many of them are refused.
func BenchmarkStreamSessionLatency(b *testing.B) {
	begin := time.Now()
	clock := func() int64 { return int64(time.Since(begin)) }
	for _, every := range []string{"0s", "100ms"} {
		b.Run("ack="+strings.Replace(every, "0s", "read", 1), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "s")
			c := startChild(b, "count", path, every)
			tap := &tap{clock: clock}
			r := newRig(b, path, replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 1366},
				func(_ *admission.Config, d *deliver.Config) { tap.Sink, d.Sink = d.Sink, tap })
			r.clock = clock
			r.offer(event.PolicyDeny, 1)
			until(b, "the first acknowledgement", func() bool { return r.ring.Floor() == 2 })
			b.ResetTimer()
			kinds := []event.Kind{event.PolicyDeny, event.ScreenDrop, event.FilterLog}
			for range b.N {
				r.offer(event.SessionOpen, 1)
				for end := clock() + 200_000; clock() < end; {
					for _, k := range kinds {
						r.offer(k, zones)
					}
				}
			}
			b.StopTimer()
			refused := r.gate.Ledger().Sinks[0].OverBudget[event.SessionOpen]
			r.finish()
			c.end(syscall.SIGTERM)
			slices.Sort(tap.took)
			if len(tap.took)+int(refused) != b.N {
				b.Fatalf("%d acknowledged and %d refused of %d", len(tap.took), refused, b.N)
			}
			at := func(q float64) float64 { return tap.took[int(q*float64(len(tap.took)-1))].Seconds() * 1e3 }
			b.ReportMetric(at(0.5), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
			b.ReportMetric(at(1), "max-ms")
			b.ReportMetric(float64(refused), "refused")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkStreamIdle reports how much CPU a connected stream without events takes, of one core, in this process and the
// receiver's.
func BenchmarkStreamIdle(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	c := startChild(b, "count", path, "0s")
	r := newRig(b, path, large)
	r.offer(event.PolicyDeny, 1)
	until(b, "the first acknowledgement", func() bool { return r.ring.Floor() == 2 })
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.ResetTimer()
	time.Sleep(time.Duration(b.N) * 10 * time.Millisecond)
	b.StopTimer()
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(100*float64(used)/float64(b.Elapsed()), "%core")
	r.finish()
	c.end(syscall.SIGTERM)
}
