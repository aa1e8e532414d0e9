package syslog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestZones pins that an interface behind an IPv6 address is understood in every scheme, written as people or as URLs do.
func TestZones(t *testing.T) {
	for _, scheme := range []string{"udp", "tcp", "tls", "relp", "relps"} {
		for _, written := range []string{"fe80::1%eth0.100", "fe80::1%25eth0.100"} {
			a, err := parseAddress(scheme + "://[" + written + "]:2514")
			if err != nil || a.target != "[fe80::1%eth0.100]:2514" || a.host != "fe80::1%eth0.100" {
				t.Errorf("%s, %s: %+v, %v", scheme, written, a, err)
			}
		}
	}
	f := tlsFiles{options: tlsOptions{MinVersion: tls12}}
	if c, err := f.config("fe80::1%eth0"); err != nil || c.ServerName != "fe80::1" {
		t.Errorf("%v, %v", c, err)
	}
}

// TestExplainWrite pins whose reason is told: that of the kernel, whoever has got it.
func TestExplainWrite(t *testing.T) {
	write := func(errno syscall.Errno) error {
		return &net.OpError{Op: "write", Err: os.NewSyscallError("write", errno)}
	}
	within := limits{write: 30 * time.Second, userTimeout: 20 * time.Second}
	for _, c := range []struct {
		read, write error
		want        string
	}{
		{peerEnded("the peer closed the connection"), write(unix.ETIMEDOUT), "nothing for 20s (user_timeout): connection timed out"},
		{explainTimeout(write(unix.ETIMEDOUT), within), write(unix.EPIPE), "nothing for 20s (user_timeout): connection timed out"},
		{peerEnded("the peer closed the connection"), write(unix.EHOSTUNREACH), "no route to host"},
		{peerEnded("the peer closed the connection"), write(unix.EPIPE), "the peer closed the connection"},
		{nil, errStuck, "the peer has taken nothing for 30s"},
		{nil, errHangs, "as before"},
	} {
		b := newBreakage()
		if c.read != nil {
			b.set(c.read)
		}
		close(b.done)
		if got := explainWrite(c.write, b, within); !strings.Contains(got.Error(), c.want) {
			t.Errorf("%v, %v: %q, want %q", c.read, c.write, got, c.want)
		}
	}
}

// standsStill accepts connections and reads nothing.
func standsStill(t *testing.T) string {
	return listenFunc(t, func(c net.Conn) {
		_ = c.(*net.TCPConn).SetReadBuffer(8 << 10)
		<-t.Context().Done()
	})
}

// TestStandsStill has a collector that stands still: the true reason is told, also between attempts, and what the buffers of
// later connections take is not acknowledged.
func TestStandsStill(t *testing.T) {
	t.Parallel()
	sink := newTestSink(t, "user_timeout = \"500ms\"", "tcp://"+standsStill(t))
	s := sinktest.NewStream(t)
	s.Append(numbered(1000)...)
	s.Repeat(1 << 30)
	if err := s.Run(t.Context(), sink); !errors.Is(err, unix.ETIMEDOUT) || !strings.Contains(err.Error(), "(user_timeout)") {
		t.Errorf("%v", err)
	}
	for range 2 {
		st := sink.Status().(Status)
		if len(st.Trouble) != 1 || !strings.Contains(st.Trouble[0], "(user_timeout)") || st.Addresses[0].State != Down {
			t.Errorf("%+v", st)
		}
		acked, held := s.Acked(), sink.links[0].stall.held
		if err := s.Run(t.Context(), sink); !errors.Is(err, unix.ETIMEDOUT) {
			t.Errorf("%v", err)
		}
		if got := s.Acked(); got != acked && sink.links[0].stall.held <= held { // its buffer may have been larger
			t.Errorf("acknowledged up to %d, and by the connection before up to %d", got, acked)
		}
	}
}

// TestFailoverStandsStill goes back to an address that still stands still: that costs the others a moment and not user_timeout.
func TestFailoverStandsStill(t *testing.T) {
	t.Parallel()
	first := "tcp://" + standsStill(t)
	second := listen(t, "tcp", "", nil)
	sink := newTestSink(t, "user_timeout = \"10m\"\nwrite_timeout = \"10m\"\nreturn_after = \"100ms\"", first, second.address)
	sink.links[0].stall.held, sink.links[0].stall.hung = 1, true
	s := sinktest.NewStream(t)
	const n = 20_000
	s.Append(numbered(n)...)
	r := keepRunning(t, s, sink)
	waitAcked(t, s, n)
	r.stop()
	if !strings.Contains(r.errors(), errHangs.Error()) {
		t.Errorf("%s", r.errors())
	}
	if st := sink.Status().(Status); fmt.Sprint(st.Strategy) != "failover" {
		t.Errorf("%+v", st)
	}
}

// TestStall pins when what a kernel has acknowledged is believed.
func TestStall(t *testing.T) {
	start := time.Unix(1e9, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	s := stall{within: 20 * time.Second, brief: true}
	see := func(position, framed uint64, d time.Duration) error {
		t.Helper()
		return s.look(position, framed, at(d))
	}
	s.begin(start)
	if err := see(500, 1000, time.Second); err != nil || s.doubts(500, at(time.Second)) {
		t.Error("a first connection is doubted")
	}
	if err := see(500, 1000, time.Minute); err != nil {
		t.Error(err)
	}
	s.ended(false, at(time.Minute))
	s.begin(start)
	if err := see(400, 400, time.Second); err != nil || !s.doubts(400, at(time.Second)) {
		t.Error("what fits the buffer is believed at once")
	}
	if !s.doubts(500, at(2*time.Second)) || s.doubts(501, at(2*time.Second)) || s.held != 0 {
		t.Error("more than the buffer is not believed")
	}
	s.held = 500
	if _ = see(400, 400, 2*time.Second); s.doubts(400, at(22*time.Second)) {
		t.Error("a connection that stands is not believed")
	}
	s.held = 500
	s.begin(start)
	_ = see(100, 1000, time.Second)
	if err := see(100, 1000, time.Second+hangsAfter+1); !errors.Is(err, errHangs) {
		t.Errorf("%v", err)
	}
	for _, givenUp := range []bool{false, true} {
		s = stall{within: time.Second / 2}
		s.begin(start)
		_ = see(500, 1000, time.Second) // the last look before the end, and the first one for long
		s.ended(givenUp, at(time.Second))
		if held := s.held != 0; held != givenUp {
			t.Errorf("given up by the kernel %v: noted %v", givenUp, held)
		}
	}
}
