package syslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/ports"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(counterVariable) != "" {
		countForEver()
		return
	}
	goleak.VerifyTestMain(m)
}

// newTestSink makes a sink for those addresses; more is further configuration.
func newTestSink(tb testing.TB, more string, addresses ...string) *Sink {
	tb.Helper()
	return sinkcheck.New(tb, Plugin(), fmt.Sprintf("address = %s\n%s", tomlList(addresses), more)).(*Sink)
}

func tomlList(list []string) string {
	var quoted []string
	for _, s := range list {
		quoted = append(quoted, strconv.Quote(s))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// numbered returns n records that say in their session id which they are, from 1 on.
func numbered(n int) []event.Record {
	all := make([]event.Record, n)
	for i := range all {
		all[i] = sinktest.Record(event.SessionOpen, uint64(i))
		all[i].SetSessionID(uint64(i + 1))
	}
	return all
}

// want returns the messages of those records, whose sequence numbers begin with from.
func want(tb testing.TB, o format.Options, from int, records ...event.Record) []string {
	tb.Helper()
	o.Hostname, o.Epoch = "fw1", sinktest.Epoch
	enc, err := format.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	var list []string
	for i, r := range records {
		r.SetSeq(event.Seq(from + i))
		list = append(list, string(enc.Append(nil, &r, sinktest.Names())))
	}
	return list
}

// collector is a peer in the test's own process. It takes messages until it is closed.
type collector struct {
	tb      testing.TB
	address string
	stop    func()

	mu      sync.Mutex
	got     []string
	changed chan struct{}
	mute    bool // RELP: does not answer
	refuse  func(msg string) bool
}

func newCollector(tb testing.TB) *collector { return &collector{tb: tb, changed: make(chan struct{})} }

func (c *collector) take(msg string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, msg)
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *collector) messages() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// wait waits until that many messages have come.
func (c *collector) wait(n int) {
	c.tb.Helper()
	late := time.NewTimer(await.Patience)
	defer late.Stop()
	for {
		c.mu.Lock()
		got, changed := len(c.got), c.changed
		c.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			c.tb.Fatalf("%s has %d messages, want %d", c.address, got, n)
		}
	}
}

// expect waits for as many messages and compares them. An acknowledgement of TCP says that they are in the kernel, not that
// they were read.
func (c *collector) expect(want []string) {
	c.tb.Helper()
	c.wait(len(want))
	sameMessages(c.tb, c.messages(), want)
}

// reserve returns a host:port of loopback on which nobody listens, and where a collector may be started later.
func reserve(tb testing.TB) string {
	tb.Helper()
	return net.JoinHostPort("127.0.0.1", ports.Reserve(tb))
}

// listen starts a collector for a scheme. where is host:port, "" for a reserved port of loopback: when the collector has
// stopped, another may be started where it was.
func listen(tb testing.TB, scheme, where string, config *tls.Config) *collector {
	tb.Helper()
	c := newCollector(tb)
	if where == "" {
		where = reserve(tb)
	}
	var closers []io.Closer
	var serving sync.WaitGroup
	switch scheme {
	case "udp", "unixgram":
		var p net.PacketConn
		var err error
		if scheme == "unixgram" {
			p, err = net.ListenPacket(scheme, filepath.Join(tb.TempDir(), "log"))
		} else {
			p, err = ports.ListenPacket(where)
		}
		if err != nil {
			tb.Fatal(err)
		}
		if u, ok := p.(*net.UDPConn); ok {
			_ = u.SetReadBuffer(4 << 20)
		}
		closers = append(closers, p)
		where = p.LocalAddr().String()
		serving.Go(func() {
			buf := make([]byte, 65536)
			for {
				n, _, err := p.ReadFrom(buf)
				if err != nil {
					return
				}
				c.take(string(buf[:n]))
			}
		})
	default:
		l, err := net.Listen("tcp", where)
		if err != nil {
			tb.Fatal(err)
		}
		closers = append(closers, l)
		where = l.Addr().String()
		serving.Go(func() { c.accept(l, scheme, config, &serving) })
	}
	c.address = scheme + "://" + where
	c.stop = sync.OnceFunc(func() {
		for _, k := range closers {
			_ = k.Close()
		}
		serving.Wait()
	})
	tb.Cleanup(c.stop)
	return c
}

// accept serves connections until the listener is closed, and closes them then.
func (c *collector) accept(l net.Listener, scheme string, config *tls.Config, serving *sync.WaitGroup) {
	var open []net.Conn
	for {
		raw, err := l.Accept()
		if err != nil {
			for _, k := range open {
				_ = k.Close()
			}
			return
		}
		open = append(open, raw)
		serving.Go(func() {
			defer raw.Close()
			rw := raw
			if config != nil {
				rw = tls.Server(raw, config)
			}
			if strings.HasPrefix(scheme, "relp") {
				c.serveRELP(rw)
			} else {
				c.serveStream(rw)
			}
		})
	}
}

// serveStream takes messages in either framing.
func (c *collector) serveStream(rw net.Conn) {
	in := bufio.NewReader(rw)
	for {
		first, err := in.Peek(1)
		if err != nil {
			return
		}
		if first[0] == '<' {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			c.take(strings.TrimSuffix(line, "\n"))
			continue
		}
		digits, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
		if err != nil {
			c.tb.Errorf("length %q", digits)
			return
		}
		msg := make([]byte, n)
		if _, err := io.ReadFull(in, msg); err != nil {
			return
		}
		c.take(string(msg))
	}
}

// serveRELP is a collector that speaks RELP.
func (c *collector) serveRELP(rw net.Conn) {
	in := newRELPReader(rw)
	for {
		f, err := in.next()
		if err != nil {
			if errors.Is(err, errRELP) {
				c.tb.Error(err)
			}
			return
		}
		answer := "200 OK"
		switch f.command {
		case relpOpen:
			answer += "\nrelp_version=0\nrelp_software=test\ncommands=syslog"
		case relpSyslog:
			msg := string(f.data)
			if c.refuse != nil && c.refuse(msg) {
				answer = "500 no"
				break
			}
			c.take(msg)
			c.mu.Lock()
			mute := c.mute
			c.mu.Unlock()
			if mute {
				continue
			}
		}
		if _, err := rw.Write(appendRELP(nil, f.txnr, relpResponse, []byte(answer))); err != nil {
			return
		}
		if f.command == relpClose {
			return
		}
	}
}

// drained runs a sink over those records to the end.
func drained(tb testing.TB, sink sdk.Sink, records ...event.Record) {
	tb.Helper()
	s := sinktest.NewStream(tb)
	s.Append(records...)
	s.Drain()
	if err := s.Run(tb.Context(), sink); err != nil {
		tb.Fatal(err)
	}
	if got := s.Acked(); got != event.Seq(len(records)) {
		tb.Fatalf("acknowledged up to %d of %d", got, len(records))
	}
}

// drip runs a sink over records and gives it some at a time, when those before have arrived: a receiver of datagrams drops what
// comes faster than it reads, which is nobody's fault.
func drip(tb testing.TB, s *sinktest.Stream, sink sdk.Sink, records []event.Record, arrived func() int) {
	tb.Helper()
	const some = 50
	done := make(chan error, 1)
	go func() { done <- s.Run(tb.Context(), sink) }()
	for sent := 0; sent < len(records); {
		part := records[sent:min(sent+some, len(records))]
		s.Append(part...)
		sent += len(part)
		await.Until(tb, "datagrams arrive", func() bool { return arrived() >= sent })
	}
	s.Drain()
	if err := <-done; err != nil {
		tb.Fatal(err)
	}
}

// sameMessages compares without printing megabytes.
func sameMessages(tb testing.TB, got, want []string) {
	tb.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			tb.Fatalf("message %d of %d is\n%q, want\n%q", i+1, len(got), got[i], want[i])
		}
	}
	if len(got) != len(want) {
		tb.Fatalf("%d messages, want %d", len(got), len(want))
	}
}

// running is a sink that is run again and again, as the daemon does, until stop.
type running struct {
	stream *sinktest.Stream
	stop   func()

	mu   sync.Mutex
	errs []string
}

func keepRunning(tb testing.TB, s *sinktest.Stream, sink sdk.Sink) *running {
	r := &running{stream: s}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			err := s.Run(ctx, sink)
			if err == nil || ctx.Err() != nil {
				return
			}
			r.mu.Lock()
			r.errs = append(r.errs, err.Error())
			r.mu.Unlock()
			t := time.NewTimer(20 * time.Millisecond)
			select {
			case <-t.C:
			case <-ctx.Done():
			}
			t.Stop()
		}
	}()
	r.stop = sync.OnceFunc(func() { cancel(); <-done })
	tb.Cleanup(r.stop)
	return r
}

func (r *running) errors() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.errs, "\n")
}

// waitAcked waits until the stream has an acknowledgement.
func waitAcked(tb testing.TB, s *sinktest.Stream, through event.Seq) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), await.Patience)
	defer cancel()
	if err := s.WaitAcked(ctx, through); err != nil {
		tb.Fatalf("acknowledged up to %d, want %d", s.Acked(), through)
	}
}
