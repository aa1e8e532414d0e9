package syslog

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestUDPRefused pins that nothing is lost to a host that says that nobody listens.
func TestUDPRefused(t *testing.T) {
	where := reserve(t)
	sink := newTestSink(t, "", "udp://"+where)
	s := sinktest.NewStream(t)
	s.Append(numbered(80)...)
	r := keepRunning(t, s, sink)
	await.Until(t, "it is noticed", func() bool { return strings.Count(r.errors(), "nobody listens there") >= 2 })
	if got := s.Acked(); got != 0 {
		t.Fatalf("acknowledged up to %d", got)
	}
	c := listen(t, "udp", where, nil)
	waitAcked(t, s, 80)
	c.wait(80)
	inOrder(t, c.messages(), want(t, format.Options{}, 1, numbered(80)...))
	if sink.counts.sendErrors.Load() == 0 {
		t.Error("no send errors were counted")
	}
}

// TestUDPFamilies sends to a name with addresses of two families of which only one has a collector.
func TestUDPFamilies(t *testing.T) {
	c := listen(t, "udp", "", nil)
	sink := newTestSink(t, "", strings.Replace(c.address, "127.0.0.1", "siem.example.net", 1))
	sink.links[0].dialer.(*datagramDialer).lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "siem.example.net" {
			t.Errorf("host %q", host)
		}
		return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	s := sinktest.NewStream(t)
	s.Append(numbered(50)...)
	r := keepRunning(t, s, sink)
	waitAcked(t, s, 50)
	r.stop()
	c.wait(50)
}

// TestUDPAllocations pins that a batch of datagrams costs next to nothing beside them.
func TestUDPAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	p, err := net.ListenPacket("udp", "127.0.0.1:0") // read by nobody: what arrives costs no allocation in this process
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	sink := newTestSink(t, "", "udp://"+p.LocalAddr().String())
	k, err := sink.links[0].dialer.dial(t.Context(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer k.drop()
	msg := make([]byte, 500)
	var buf []byte
	if got := testing.AllocsPerRun(20, func() {
		buf = buf[:0]
		for range 10 * datagramBatch {
			buf, _ = k.tail(append(k.head(buf, event.PolicyDeny), msg...))
		}
		if err := k.send(buf); err != nil {
			t.Fatal(err)
		}
	}); got > 10*4 {
		t.Errorf("%v allocations for 10 system calls with %d datagrams each", got, datagramBatch)
	}
}

// twoHosts returns hosts with 192.0.2.1 and 192.0.2.2.
func twoHosts(t *testing.T) (here, there *nettest.Host) {
	nettest.Require(t)
	here, there = nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(here, "eth0", there, "eth0", 1)
	here.Address("eth0", "192.0.2.1/24")
	there.Address("eth0", "192.0.2.2/24")
	return here, there
}

// runOn runs the sink on a host and returns what it returned, with time.
func runOn(t *testing.T, h *nettest.Host, s *sinktest.Stream, sink *Sink) <-chan error {
	done := make(chan error, 1)
	go h.Do(func() { done <- s.Run(t.Context(), sink) })
	return done
}

func soon(t *testing.T, done <-chan error) error {
	t.Helper()
	late := time.NewTimer(await.Patience)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		t.Fatal("the run does not end")
		return nil
	}
}

// deadPeer reports whether an error is what the kernel says when a peer does not answer any more: that time is over, or, if
// it has asked for the peer's hardware address meanwhile, that the peer cannot be reached.
func deadPeer(err error) bool {
	return errors.Is(err, unix.ETIMEDOUT) || errors.Is(err, unix.EHOSTUNREACH)
}

// TestSilentPeer pulls the plug of a peer, busy or idle: it is noticed, and what it has not got is not acknowledged.
func TestSilentPeer(t *testing.T) {
	for _, scheme := range []string{"tcp", "relp"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			here, there := twoHosts(t)
			var c *collector
			there.Do(func() { c = listen(t, scheme, "192.0.2.2:0", nil) })
			sink := newTestSink(t, "user_timeout = \"1s\"\nkeepalive = \"3s\"\nwrite_timeout = \"5s\"", c.address)
			s := sinktest.NewStream(t)
			s.Append(numbered(100)...)
			done := runOn(t, here, s, sink)
			waitAcked(t, s, 100)
			there.SetDown("eth0")
			s.Append(numbered(50)...)
			if err := soon(t, done); !deadPeer(err) {
				t.Errorf("busy: %v", err)
			}
			if got := s.Acked(); got != 100 {
				t.Errorf("acknowledged up to %d", got)
			}

			there.SetUp("eth0")
			done = runOn(t, here, s, sink)
			waitAcked(t, s, 150)
			there.SetDown("eth0")
			if err := soon(t, done); !deadPeer(err) {
				t.Errorf("idle: %v", err)
			}
		})
	}
}

// TestFragmented sends what does not fit the path: it arrives, and is counted.
func TestFragmented(t *testing.T) {
	here, there := twoHosts(t)
	here.SetMTU("eth0", 1280)
	var p net.PacketConn
	var err error
	there.Do(func() { p, err = net.ListenPacket("udp", "192.0.2.2:0") })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var records []event.Record
	for i := range uint64(20) {
		records = append(records, sinktest.Record(event.SessionClose, i))
	}
	sink := newTestSink(t, "sequence = true\nprofile = \"junos-22-24\"", "udp://"+p.LocalAddr().String())
	s := sinktest.NewStream(t)
	s.Append(records...)
	done := runOn(t, here, s, sink)
	buf := make([]byte, 65536)
	for i, expect := range want(t, format.Options{Profile: format.Junos22, Sequence: true}, 1, records...) {
		n, _, err := p.ReadFrom(buf)
		if err != nil || string(buf[:n]) != expect {
			t.Fatalf("datagram %d: %v\n%q, want\n%q", i, err, buf[:n], expect)
		}
	}
	s.Drain()
	if err := soon(t, done); err != nil {
		t.Fatal(err)
	}
	if got := sink.counts.fragmented.Load(); got != 20 {
		t.Errorf("%d fragmented", got)
	}
}
