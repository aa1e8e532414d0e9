package syslog

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/testcert"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestFailoverUseless has a first address that can be connected to and does not work, in every way that there is: the second
// gets the records, and the first is not tried at each run again.
func TestFailoverUseless(t *testing.T) {
	short := "write_timeout = \"2s\"\nuser_timeout = \"2s\"" // of the first address; the second has all the time it needs
	for _, c := range []struct {
		name, scheme string
		first        func(t *testing.T) (address, more string)
	}{
		{"accepts and closes", "tcp", func(t *testing.T) (string, string) {
			return "tcp://" + listenFunc(t, func(net.Conn) {}), ""
		}},
		{"never reads", "tcp", func(t *testing.T) (string, string) {
			return "tcp://" + listenFunc(t, func(c net.Conn) {
				_ = c.(*net.TCPConn).SetReadBuffer(4096)
				<-t.Context().Done()
			}), short
		}},
		{"never answers", "relp", func(t *testing.T) (string, string) {
			k := listen(t, "relp", "", nil)
			k.mute = true
			return k.address, short
		}},
		{"nobody listens", "udp", func(t *testing.T) (string, string) {
			return "udp://" + reserve(t), ""
		}},
		{"refuses our certificate", "tcp", func(t *testing.T) (string, string) {
			ca := testcert.NewAuthority(t)
			config := ca.Server(t, "127.0.0.1")
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool
			return listen(t, "tls", "", config).address, fmt.Sprintf("tls = { ca = %q }", ca.File)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first, more := c.first(t)
			second := listen(t, c.scheme, "", nil)
			sink := newTestSink(t, more, first, second.address)
			setTimeouts(sink.links[1], time.Hour)
			s := sinktest.NewStream(t)
			const n = 20_000 // more than the buffers of a peer hold that does not read
			s.Append(numbered(n)...)
			r := keepRunning(t, s, sink)
			await.Until(t, "the second address has records", func() bool { return len(second.messages()) > 0 })
			if c.scheme != "udp" { // which may drop some
				waitAcked(t, s, n)
			}
			r.stop()
			if got := strings.Count(r.errors(), first); got != 1 {
				t.Errorf("%d runs ended at the first address, want one:\n%s", got, r.errors())
			}
		})
	}
}

// setTimeouts sets the times that an address has to connect, and to take and acknowledge what it is sent.
func setTimeouts(l *link, d time.Duration) {
	switch dialer := l.dialer.(type) {
	case *streamDialer:
		dialer.limits.connect, dialer.limits.write, dialer.limits.userTimeout = d, d, d
	case *relpDialer:
		dialer.limits.connect, dialer.limits.write, dialer.limits.userTimeout = d, d, d
	}
	l.stall.within = d
}

// TestFailoverNotBack goes back to an address only when it stands: one that accepts and closes does not cost the connection
// that works.
func TestFailoverNotBack(t *testing.T) {
	accepted := make(chan struct{}, 100)
	first := "tcp://" + listenFunc(t, func(net.Conn) { accepted <- struct{}{} })
	second := listen(t, "tcp", "", nil)
	sink := newTestSink(t, `return_after = "100ms"`, first, second.address)
	s := sinktest.NewStream(t)
	s.Append(numbered(100)...)
	r := keepRunning(t, s, sink)
	waitAcked(t, s, 100)
	for range 3 { // at the beginning, and after two rests
		<-accepted
	}
	s.Append(numbered(100)...)
	s.Drain()
	waitAcked(t, s, 200)
	r.stop()
	if got := strings.Count(r.errors(), first); got > 1 {
		t.Errorf("%d runs ended:\n%s", got, r.errors())
	}
	if got := sink.counts.connections.Load(); got > 2 {
		t.Errorf("%d connections, want that of the second address to stand", got)
	}
}

// TestRest pins that rests grow, end, and are forgotten after a connection that worked.
func TestRest(t *testing.T) {
	now := time.Unix(1e9, 0)
	var r rest
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, maxRest, maxRest} {
		r.begin(now, 30*time.Second, errors.New("x"))
		if r.over(now.Add(want-1)) || !r.over(now.Add(want)) {
			t.Errorf("a rest until %v, want %v", r.until.Sub(now), want)
		}
	}
	k := &Sink{links: []*link{{}, {}, {}}}
	order := func(want ...int) {
		t.Helper()
		if got := k.byPromise(now); !slices.Equal(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
	}
	order(0, 1, 2)
	k.links[0].judge(false, now, time.Minute, errors.New("x"))
	order(1, 2, 0)
	k.links[1].judge(false, now, time.Second, errors.New("x"))
	order(2, 1, 0)
	now = now.Add(time.Second)
	order(1, 2, 0)
	k.links[0].judge(true, now, time.Minute, errors.New("x"))
	order(0, 1, 2)
}

// TestWorked pins what speaks against an address when its connection ends.
func TestWorked(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		name     string
		conn     conn
		took     bool
		age      time.Duration
		unacked  int64
		progress time.Duration // ago
		want     bool
		why      error
	}{
		{"TCP, at once", &stream{}, false, 0, 0, 0, false, nil},
		{"TCP, its kernel took something", &stream{}, true, time.Second, 0, 0, false, nil},
		{"TCP, stood", &stream{}, true, steadyAfter, 0, 0, true, nil},
		{"TCP, stood and stalled", &stream{}, true, time.Minute, 1, stalledAfter + 1, false, nil},
		{"TCP, stood idle", &stream{}, false, time.Minute, 0, time.Minute, true, nil},
		{"TCP, given up by the kernel", &stream{}, true, time.Minute, 0, 0, false, fmt.Errorf("write: %w", unix.ETIMEDOUT)},
		{"RELP, given up by the kernel", &relp{}, true, time.Minute, 0, 0, false, fmt.Errorf("write: %w", unix.ETIMEDOUT)},
		{"TCP, closed by the peer", &stream{}, true, time.Minute, 0, 0, true, unix.EPIPE},
		{"RELP, at once", &relp{}, false, 0, 0, 0, false, nil},
		{"RELP, answered", &relp{}, true, 0, 10, 0, true, nil},
		{"RELP, answered and stalled", &relp{}, true, 0, 10, stalledAfter + 1, false, nil},
	} {
		l := &link{conn: c.conn, took: c.took, since: now.Add(-c.age), progress: now.Add(-c.progress)}
		l.unacked.Store(c.unacked)
		if got := l.worked(c.why, now); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
