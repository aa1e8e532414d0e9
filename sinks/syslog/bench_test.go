package syslog

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/collectors"
	"github.com/rtflow/pipelined/internal/testing/testcert"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// counterVariable makes the test binary a peer that only counts: it prints where it listens and, for every line on standard
// input, how many bytes it has got. It is a process of its own, so that its CPU time is.
const counterVariable = "PIPELINED_TEST_COUNTER"

func countForEver() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	counts := make(chan int, 1)
	counts <- 0
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				buf := make([]byte, 1<<20)
				for {
					n, err := c.Read(buf)
					counts <- n + <-counts
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	asked := bufio.NewScanner(os.Stdin)
	for asked.Scan() {
		n := <-counts
		fmt.Println(n)
		counts <- n
	}
}

// counter is that peer.
type counter struct {
	tb      testing.TB
	address string
	in      io.Writer
	out     *bufio.Scanner
}

func newCounter(tb testing.TB) *counter {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), counterVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := &counter{tb: tb, in: in, out: bufio.NewScanner(out)}
	c.address = c.line()
	return c
}

func (c *counter) line() string {
	if !c.out.Scan() {
		c.tb.Fatal("the counter has ended")
	}
	return c.out.Text()
}

func (c *counter) bytes() int {
	fmt.Fprintln(c.in)
	n, err := strconv.Atoi(c.line())
	if err != nil {
		c.tb.Fatal(err)
	}
	return n
}

// wait waits until the peer has so many bytes.
func (c *counter) wait(bytes int) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for c.bytes() < bytes {
		<-tick.C
	}
}

// cpuTime returns the CPU time of this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// denies are the records of the comparisons: some 650 bytes each.
func denies() []event.Record {
	records := make([]event.Record, 1024)
	for i := range records {
		records[i] = sinktest.Record(event.PolicyDeny, uint64(i))
	}
	return records
}

// report reports CPU and wall time per message.
func report(b *testing.B, cpu time.Duration) {
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/msg")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkSyslog sends RT_FLOW_SESSION_DENY records to a peer that only counts, end to end, the fake stream's copy included.
func BenchmarkSyslog(b *testing.B) {
	for _, scheme := range []string{"tcp", "tls", "relp", "udp"} {
		b.Run(scheme, func(b *testing.B) {
			address, more := "", ""
			switch scheme {
			case "tcp":
				address = newCounter(b).address
			case "tls":
				ca := testcert.NewAuthority(b)
				address = strings.TrimPrefix(listen(b, "tls", "", ca.Server(b, "127.0.0.1")).address, "tls://")
				more = fmt.Sprintf("tls = { ca = %q }", ca.File)
			default:
				address = strings.TrimPrefix(listen(b, scheme, "", nil).address, scheme+"://")
			}
			sink := newTestSink(b, more, scheme+"://"+address)
			s := sinktest.NewStream(b)
			s.Append(denies()...)
			s.SetBatch(1024)
			s.Repeat(b.N)
			s.Drain()
			before := cpuTime(b)
			b.ReportAllocs()
			b.ResetTimer()
			if err := s.Run(b.Context(), sink); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			report(b, cpuTime(b)-before)
			if got := s.Acked(); got != event.Seq(b.N) {
				b.Fatalf("acknowledged up to %d of %d", got, b.N)
			}
		})
	}
}

// BenchmarkRsyslogRelay lets rsyslogd relay the same messages to the same peer: a Unix stream in, TCP out, large batches and no
// template. Its CPU time is reported.
func BenchmarkRsyslogRelay(b *testing.B) {
	c := newCounter(b)
	host, port, err := net.SplitHostPort(c.address)
	if err != nil {
		b.Fatal(err)
	}
	d := collectors.Rsyslog(b, fmt.Sprintf(`
global(workDirectory="DIR" net.enableDNS="off")
main_queue(queue.type="FixedArray" queue.size="50000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
module(load="imptcp" threads="1")
input(type="imptcp" path="DIR/in")
template(name="raw" type="string" string="%%rawmsg%%")
action(type="omfwd" target=%q port=%q protocol="tcp" TCP_Framing="octet-counted" template="raw")
`, host, port))
	d.Start(d.Path("in"))
	before := d.CPU()
	b.ResetTimer()
	c.wait(collectors.Feed(b, "unix", d.Path("in"), want(b, format.Options{}, 1, denies()...), b.N))
	b.StopTimer()
	report(b, d.CPU()-before)
}
