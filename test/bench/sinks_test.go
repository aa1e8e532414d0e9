package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/file"
	"github.com/rtflow/pipelined/sinks/syslog"
)

// readerVariable makes the test binary a TCP server that reads and forgets: it prints where it listens. It is a process of
// its own, so that its CPU time is.
const readerVariable = "PIPELINED_TEST_READER"

func TestMain(m *testing.M) {
	if os.Getenv(readerVariable) != "" {
		readForEver()
	}
	os.Exit(m.Run())
}

func readForEver() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			buf := make([]byte, 1<<20)
			for err := error(nil); err == nil; _, err = c.Read(buf) {
			}
			_ = c.Close()
		}()
	}
}

// startReader returns the address of such a server.
func startReader(tb testing.TB) string {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), readerVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address := bufio.NewScanner(out)
	if !address.Scan() {
		tb.Fatal("the server has not started")
	}
	return address.Text()
}

// eventCount is how many events the benchmark has, which it repeats: some batches, of each kind as many.
const eventCount = 3 * packet.BatchSize

// flows are events of sessions that begin, sessions that end, and denials, in turn.
func flows(n int) []admission.Event {
	list := make([]admission.Event, n)
	for i := range list {
		list[i] = admission.Event{
			Kind: [...]event.Kind{event.SessionOpen, event.SessionClose, event.PolicyDeny}[i%3], Time: 1772360120125e6 + int64(i)*1e6,
			Flow: packet.Tuple{
				Proto: packet.ProtoTCP, Family: packet.IPv4, SrcPort: uint16(40000 + i), DstPort: 443,
				Src: [16]byte{10, 1, byte(i >> 8), byte(i)}, Dst: [16]byte{198, 51, 100, byte(i)},
			},
			InZone: 1, OutZone: 2, Interface: 1, App: 1, Action: event.ActionDeny, Policy: 1, SessionID: uint64(1000 + i),
			Created: 1772360000, ClientPackets: 17, ClientBytes: 2400, ServerPackets: 21, ServerBytes: 18000,
		}
	}
	return list
}

// destinations are what the sinks of the benchmark write to: each is made anew, as a sink and bare.
var destinations = []struct {
	name string
	sink func(*testing.B) sdk.Sink
	bare func(*testing.B) io.WriteCloser
}{
	{ // what the program itself takes: the kernel takes next to nothing to throw bytes away
		"null",
		func(b *testing.B) sdk.Sink {
			return sinkcheck.New(b, file.Plugin(), "path = \"/dev/null\"\nsync = \"none\"")
		},
		func(b *testing.B) io.WriteCloser {
			f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
			if err != nil {
				b.Fatal(err)
			}
			return f
		},
	},
	{
		"file",
		func(b *testing.B) sdk.Sink {
			path := filepath.Join(b.TempDir(), "events.log")
			return sinkcheck.New(b, file.Plugin(), fmt.Sprintf("path = %q\nsync = \"none\"", path))
		},
		func(b *testing.B) io.WriteCloser {
			f, err := os.Create(filepath.Join(b.TempDir(), "events.log"))
			if err != nil {
				b.Fatal(err)
			}
			return f
		},
	},
	{
		"tcp",
		func(b *testing.B) sdk.Sink {
			return sinkcheck.New(b, syslog.Plugin(), fmt.Sprintf("address = \"tcp://%s\"", startReader(b)))
		},
		func(b *testing.B) io.WriteCloser {
			c, err := net.Dial("tcp", startReader(b))
			if err != nil {
				b.Fatal(err)
			}
			return c
		},
	},
}

// BenchmarkGrowthSinks brings events through the gate and the rings to sinks of one format, and reports the CPU time of the
// whole process for each event. Beside it stands what the kernel takes for the same bytes in writes of the same size.
func BenchmarkGrowthSinks(b *testing.B) {
	for _, d := range destinations {
		b.Run(d.name+"/bare", func(b *testing.B) { writeBare(b, d.bare(b)) })
		for _, n := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("%s/%d", d.name, n), func(b *testing.B) {
				var sinks []sdk.Sink
				for range n {
					sinks = append(sinks, d.sink(b))
				}
				deliverTo(b, sinks)
			})
		}
	}
}

// writeBare writes the lines of b.N events.
func writeBare(b *testing.B, w io.WriteCloser) {
	b.Helper()
	enc, err := format.New(format.Options{Hostname: "fw1"})
	if err != nil {
		b.Fatal(err)
	}
	var lines []byte
	events, held := flows(eventCount), 0
	for ; len(lines) < 256<<10; held++ {
		var rec event.Record
		events[held%eventCount].Encode(&rec)
		lines = append(enc.Append(lines, &rec, sinktest.Names()), '\n')
	}
	before := processCPU()
	b.ResetTimer()
	done := 0
	for ; done < b.N; done += held {
		if _, err := w.Write(lines); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(processCPU()-before)/float64(done), "cpu-ns/event")
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// deliverTo brings b.N events to each of the sinks.
func deliverTo(b *testing.B, sinks []sdk.Sink) {
	b.Helper()
	c := admission.Config{Lanes: 1, Zones: []uint16{1, 2}, Wait: true}
	var deliveries []*deliver.Delivery
	for i, sink := range sinks {
		ring, err := replay.New(replay.DefaultOptions().Limits)
		if err != nil {
			b.Fatal(err)
		}
		name := strconv.Itoa(i)
		c.Sinks = append(c.Sinks, admission.Sink{Name: name, Ring: ring, Only: event.AllKinds})
		deliveries = append(deliveries, deliver.New(deliver.Config{
			Name: name, Sink: sink, Ring: ring, Epoch: 1, Log: slog.New(slog.DiscardHandler),
			Names: func(uint32) *event.Names { return sinktest.Names() },
		}))
	}
	gate, err := admission.New(c)
	if err != nil {
		b.Fatal(err)
	}
	lane := gate.Lane(context.Background(), 0)
	events := flows(eventCount)
	before := processCPU()
	b.ResetTimer()
	var running sync.WaitGroup
	for _, d := range deliveries {
		running.Go(func() { d.Run(context.Background()) })
	}
	for done := 0; done < b.N; {
		batch := events[done%eventCount:][:min(packet.BatchSize, b.N-done)]
		for i := range batch {
			lane.Offer(batch[i].Kind, lane.Slot(1), int64(done))
		}
		lane.Flush(int64(done), int64(done), batch)
		done += len(batch)
	}
	for _, s := range c.Sinks {
		s.Ring.Drain()
	}
	running.Wait()
	b.StopTimer()
	b.ReportMetric(float64(processCPU()-before)/float64(b.N), "cpu-ns/event")
	for _, s := range c.Sinks {
		if got := s.Ring.Floor(); got != event.Seq(b.N+1) {
			b.Fatalf("sink %s: %d of %d events are acknowledged", s.Name, got-1, b.N)
		}
	}
}

// processCPU returns the CPU time that the process has used, in nanoseconds.
func processCPU() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails for arguments only
	return u.Utime.Nano() + u.Stime.Nano()
}
