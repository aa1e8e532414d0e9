package conntrack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestTraffic has real connections pass a router that translates addresses.
func TestTraffic(t *testing.T) {
	r := newRouter(t)
	serve(t, r.WAN, ":443")
	serve(t, r.DMZ, ":80")
	w := watch(t, r.Host, Config{AtEnd: true, Accounting: true, zones: []zoneRule{{mark: 7, mask: 15, zone: 3}}})
	if s := w.source.Status().(Status); !s.Accounting || !s.Timestamps || len(s.Notes) != 0 || s.Buffer != 1<<20 || s.Max < leastSessions {
		t.Errorf("%+v", s)
	}

	talk(t, r.LAN, nettest.WANHost+":443", "hello") // masquerade
	fin := w.one(source.Ended, packet.ProtoTCP, 443)
	if c := &w.source.stream.counters; c.new.Load() != 1 || c.updates.Load() != 2 { // answered; ended
		t.Errorf("%d beginnings and %d updates of one connection", c.new.Load(), c.updates.Load())
	}
	if got, want := ends(&fin), "10.20.1.2:0 > 198.51.100.2:443, 198.51.100.1:0 > 198.51.100.2:443"; got != want {
		t.Errorf("masquerade: %s, want %s", got, want)
	}
	if fin.Reason != event.CloseFIN || !fin.Answered || fin.ClientPackets < 4 || fin.ServerPackets < 3 || fin.ClientBytes < 4*52+5 ||
		fin.Created == 0 || fin.Time < fin.Created || time.Since(time.Unix(0, fin.Created)) > patience {
		t.Errorf("%+v", fin)
	}
	began := w.one(source.Began, packet.ProtoTCP, 443)
	if w.one(source.Answered, packet.ProtoTCP, 443).Session != fin.Session || began.Session != fin.Session || began.Silent {
		t.Errorf("one session, or not: %+v, %+v", began, fin)
	}
	list := r.Run("conntrack", "-L", "-o", "id,extended", "-p", "tcp", "--dport", "443")
	for _, want := range []string{
		fmt.Sprintf("id=%d", uint32(fin.Session)), fmt.Sprintf("packets=%d bytes=%d src=198", fin.ClientPackets, fin.ClientBytes),
		fmt.Sprintf("packets=%d bytes=%d", fin.ServerPackets, fin.ServerBytes),
	} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in %s", want, list)
		}
	}

	talk(t, r.WAN, nettest.WANRouter+":8080", "reset me") // port forward
	rst := w.one(source.Ended, packet.ProtoTCP, 8080)
	if got, want := ends(&rst), "198.51.100.2:0 > 198.51.100.1:8080, 198.51.100.2:0 > 10.20.2.2:80"; got != want || rst.Reason != event.CloseRST {
		t.Errorf("port forward: %s, want %s; reason %v", got, want, rst.Reason)
	}

	// Nothing listens there: the kernel forgets the entry with the reset that answers.
	r.LAN.Do(func() {
		if c, err := net.Dial("tcp", nettest.WANHost+":444"); err == nil {
			_ = c.Close()
			t.Error("somebody listens")
		}
	})
	if e := w.one(source.Ended, packet.ProtoTCP, 444); e.Reason != event.CloseRST || e.Answered || e.ClientPackets != 1 {
		t.Errorf("refused: %+v", e)
	}

	talk(t, r.LAN, "["+nettest.WANHost6+"]:443", "six")
	w.until("IPv6", func() bool { return len(w.of(source.Ended, packet.ProtoTCP, 443)) == 2 })
	six := w.of(source.Ended, packet.ProtoTCP, 443)[1]
	if got, want := ends(&six), "[fd20:1::2]:0 > [fd20:3::2]:443, [fd20:1::2]:0 > [fd20:3::2]:443"; got != want {
		t.Errorf("IPv6: %s, want %s", got, want)
	}

	for name, value := range map[string]string{"icmp_timeout": "1", "udp_timeout": "1", "icmpv6_timeout": "1"} {
		r.Set("netfilter/nf_conntrack_"+name, value)
	}
	r.LAN.Run("ping", "-c1", nettest.WANHost)
	w.expired(r, packet.ProtoICMP, 0)
	echo := w.one(source.Ended, packet.ProtoICMP, 0)
	if echo.Reason != event.CloseTimeout || !echo.Answered || echo.ClientPackets != 1 || echo.ServerPackets != 1 || echo.ServerBytes != 84 ||
		echo.Flow.SrcPort == 0 || echo.Reply.Dst.Netip(packet.IPv4).String() != nettest.WANRouter {
		t.Errorf("echo: %+v", echo)
	}
	r.LAN.Run("ping", "-c1", nettest.WANHost6)
	w.expired(r, packet.ProtoICMPv6, 0)
	if e := w.one(source.Ended, packet.ProtoICMPv6, 0); e.Flow.SrcPort == 0 || e.Flow.SrcPort != e.Reply.SrcPort || !e.Answered {
		t.Errorf("IPv6 echo: %+v", e)
	}

	r.LAN.Do(func() {
		c, err := net.Dial("udp", nettest.DMZHost+":53")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("question")); err != nil {
			t.Error(err)
		}
	})
	if e := w.one(source.Began, packet.ProtoUDP, 53); e.Zone != 3 || began.Zone != 0 {
		t.Errorf("zone %d by mark, %d without", e.Zone, began.Zone)
	}
	r.Run("conntrack", "-D", "-p", "tcp")
	w.until("the entries of ended connections are gone", func() bool { return w.source.stream.sessions.live <= 2 })
	w.expired(r, packet.ProtoUDP, 53)
	if e := w.one(source.Ended, packet.ProtoUDP, 53); e.Answered || e.ClientPackets != 1 || e.ClientBytes != 36 {
		t.Errorf("UDP: %+v", e)
	}
	checkSums(t, w.source.stream)
}

// TestDeleted has an operator delete an entry.
func TestDeleted(t *testing.T) {
	r := newRouter(t)
	w := watch(t, r.Host, Config{AtEnd: true})
	r.LAN.Run("ping", "-c1", nettest.WANHost)
	w.one(source.Answered, packet.ProtoICMP, 0)
	r.Run("conntrack", "-D", "-p", "icmp")
	if e := w.one(source.Ended, packet.ProtoICMP, 0); e.Reason != event.CloseNone || e.ClientPackets != 0 || e.Created == 0 {
		t.Errorf("%+v", e) // and nothing is counted
	}
	notes := strings.Join(w.source.Status().(Status).Notes, "\n")
	for _, want := range []string{"sysctl -w net.netfilter.nf_conntrack_acct=1", "sysctl -w net.netfilter.nf_conntrack_timestamp=1"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in the notes: %s", want, notes)
		}
	}
}

// TestRestart closes a source and opens another one, while sessions live.
func TestRestart(t *testing.T) {
	r := newRouter(t)
	serve(t, r.WAN, ":443")
	w := watch(t, r.Host, Config{AtEnd: true, Accounting: true})
	var c net.Conn
	var err error
	r.LAN.Do(func() { c, err = net.Dial("tcp", nettest.WANHost+":443") })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.one(source.Answered, packet.ProtoTCP, 443)
	before := w.one(source.Began, packet.ProtoTCP, 443)
	talk(t, r.DMZ, nettest.WANHost+":443", "ended before") // in TIME_WAIT
	w.one(source.Ended, packet.ProtoTCP, 443)
	if err := w.source.Close(); err != nil {
		t.Fatal(err)
	}

	w = watch(t, r.Host, Config{AtEnd: true, Accounting: true})
	found := w.one(source.Began, packet.ProtoTCP, 443)
	if !found.Silent || uint32(found.Session) != uint32(before.Session) || len(w.of(source.Answered, packet.ProtoTCP, 443)) != 1 {
		t.Errorf("%+v, before %+v", found, before)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if e := w.one(source.Ended, packet.ProtoTCP, 443); e.Reason != event.CloseFIN || e.Session != found.Session || e.ClientPackets < 4 {
		t.Errorf("%+v", e)
	}
	checkSums(t, w.source.stream)
}

// TestRealOverrun has the kernel drop events for want of room. Sessions that live on are told once; those that are gone are closed.
func TestRealOverrun(t *testing.T) {
	r := newRouter(t)
	w := watch(t, r.Host, Config{AtEnd: true, Buffer: minBuffer})
	const flows = 2000
	send := func(port int) {
		r.LAN.Do(func() {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			for n := range flows { // each to another port: a session each
				to := &unix.SockaddrInet4{Port: port + n, Addr: [4]byte{198, 51, 100, 2}}
				if err := unix.Sendto(fd, []byte("x"), 0, to); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
					t.Fatal(err)
				}
			}
		})
	}
	send(10000)
	r.Run("conntrack", "-F")
	send(20000)
	var listed int
	w.until("every session that is there is known, and no other", func() bool {
		listed = 0
		w.source.stream.Sessions(func(e *source.Event) bool {
			if e.Flow.DstPort >= 20000 {
				listed++
			}
			return true
		})
		s := w.source.stream
		return listed == flows && s.sessions.live == flows && !s.resync.wanted && !s.resync.active && s.resync.sweep == 0
	})
	told := make(map[packet.Tuple]int)
	lost := uint64(0)
	for i := range w.events {
		switch e := &w.events[i]; e.What {
		case source.Began:
			if told[e.Flow]++; told[e.Flow] > 1 || e.Silent {
				t.Errorf("told again: %+v", e)
			}
		case source.Lost:
			lost += e.Lost[event.SessionClose]
			if e.Lost != (event.LossCounts{event.SessionOpen: e.Lost[event.SessionClose], event.SessionClose: e.Lost[event.SessionClose]}) {
				t.Errorf("%+v", e)
			}
		}
	}
	c := &w.source.stream.counters
	if lost == 0 || lost != c.lost.Load() || c.overruns.Load() == 0 || len(told) < flows {
		t.Errorf("%d sessions told, %d events lost, %d counted, %d overruns", len(told), lost, c.lost.Load(), c.overruns.Load())
	}
	r.Run("conntrack", "-F")
	w.until("no session stays", func() bool { return w.source.stream.sessions.live == 0 })
	checkSums(t, w.source.stream)
}

// TestCapability opens the source on a thread without capabilities, which ends with its goroutine.
func TestCapability(t *testing.T) {
	nettest.Require(t)
	host := nettest.NewHost(t)
	done := make(chan error)
	go host.Do(func() {
		runtime.LockOSThread()
		none := [2]unix.CapUserData{}
		err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
		if err == nil {
			_, err = Open(Config{Buffer: 1 << 20})
		}
		done <- err
	})
	if err := <-done; !errors.Is(err, ErrCapability) {
		t.Errorf("opened with %v", err)
	}
}

// TestDescriptors opens and closes sources, and has none of their descriptors left.
func TestDescriptors(t *testing.T) {
	nettest.Require(t)
	host := nettest.NewHost(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for range 3 {
		var s *Source
		var err error
		host.Do(func() { s, err = Open(Config{Buffer: 1 << 20}) })
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// TestRealAtDestroy ends a connection when its entry is destroyed, and reads of it only what that needs.
func TestRealAtDestroy(t *testing.T) {
	r := newRouter(t)
	serve(t, r.WAN, ":443")
	w := watch(t, r.Host, Config{Accounting: true})
	talk(t, r.LAN, nettest.WANHost+":443", "hello")
	w.one(source.Answered, packet.ProtoTCP, 443)
	r.Run("conntrack", "-D", "-p", "tcp")
	e := w.one(source.Ended, packet.ProtoTCP, 443)
	if c := &w.source.stream.counters; e.Reason != event.CloseFIN || e.ClientPackets < 4 || c.updates.Load() != 1 || c.latePackets.Load() != 0 {
		t.Errorf("%d updates, %+v", c.updates.Load(), e)
	}
	checkSums(t, w.source.stream)
}

// TestEventsTurnedOn has an entry from before events were turned on, of which the kernel tells nothing: it is found gone.
func TestEventsTurnedOn(t *testing.T) {
	r := newRouter(t)
	r.Set("netfilter/nf_conntrack_events", "0")
	r.LAN.Run("ping", "-c1", nettest.WANHost)
	w := watch(t, r.Host, Config{AtEnd: true, Accounting: true})
	w.one(source.Began, packet.ProtoICMP, 0)
	r.Run("conntrack", "-D", "-p", "icmp")
	now := time.Now()
	ended := 0
	for i := range 1000 { // a minute on its clock
		at := now.UnixNano() + int64(i)*int64(60*time.Millisecond)
		if _, err := w.source.stream.Read(&w.batch, at, at); err != nil {
			t.Fatal(err)
		}
		for _, e := range w.batch.Events[:w.batch.N] {
			if e.What == source.Ended {
				ended++
			}
		}
	}
	if ended != 1 || w.source.stream.sessions.live != 0 {
		t.Errorf("%d ended, %d in the table", ended, w.source.stream.sessions.live)
	}
}

// TestSessionIDs has sessions of one tuple follow each other: the kernel gives their entries one number.
func TestSessionIDs(t *testing.T) {
	r := newRouter(t)
	serve(t, r.WAN, ":443")
	w := watch(t, r.Host, Config{AtEnd: true, Accounting: true})
	for range 8 {
		r.LAN.Do(func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{Port: 45678}, Control: func(_, _ string, c syscall.RawConn) error {
				return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
			}}
			c, err := d.Dial("tcp", nettest.WANHost+":443")
			if err != nil {
				t.Fatal(err)
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		})
	}
	w.until("all", func() bool { return len(w.of(source.Ended, packet.ProtoTCP, 443)) >= 8 })
	ids := make(map[uint64]int)
	for _, e := range w.of(source.Began, packet.ProtoTCP, 443) {
		ids[e.Session]++
	}
	if len(ids) != 8 {
		t.Errorf("%d ids of 8 sessions: %x", len(ids), ids)
	}
}

// TestSettingsOfNow has the status say what the kernel's settings are, not what they were at the opening.
func TestSettingsOfNow(t *testing.T) {
	r := newRouter(t)
	w := watch(t, r.Host, Config{})
	status := func() Status { return w.source.Status().(Status) }
	if s := status(); s.Accounting || s.Timestamps || len(s.Notes) != 2 || w.source.Blind() != nil {
		t.Fatalf("at the opening: %+v, %v", s, w.source.Blind())
	}
	for _, name := range []string{accounting, timestamps} {
		r.Set("netfilter/"+name, "1")
	}
	if s := status(); !s.Accounting || !s.Timestamps || len(s.Notes) != 0 {
		t.Errorf("with both: %+v", s)
	}
	r.Set("netfilter/"+events, "0")
	if s, err := status(), w.source.Blind(); err == nil || len(s.Notes) != 1 || !strings.Contains(err.Error(), "sysctl -w net.netfilter.nf_conntrack_events=1") {
		t.Errorf("without events: %+v, %v", s, err)
	}
}
