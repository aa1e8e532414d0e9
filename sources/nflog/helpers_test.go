package nflog

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/sdk/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// config returns what a table of the source says.
func config(t testing.TB, text string) Config {
	t.Helper()
	cfg, err := table.Parse("fw", text)
	if err != nil {
		t.Fatal(err)
	}
	c := decode(cfg)
	if err := cfg.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// open opens a source on a host.
func open(t testing.TB, h *nettest.Host, text string) *Source {
	t.Helper()
	var s *Source
	var err error
	c := config(t, text)
	h.Do(func() { s, err = Open(c) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// readable waits until the descriptor of a source is readable, and reports whether it is.
func readable(t testing.TB, fd int, wait time.Duration) bool {
	t.Helper()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(wait.Milliseconds()))
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// events reads at least n events, as the feed does, and copies them.
func events(t testing.TB, s *Source, n int) (events []source.Event) {
	t.Helper()
	var b source.EventBatch
	for len(events) < n {
		if !readable(t, s.FD(), patience) {
			t.Fatalf("%d of %d events: %+v", len(events), n, events)
		}
		for again := time.Duration(0); again == 0; {
			var err error
			if again, err = s.Read(&b, 0, time.Now().UnixNano()); err != nil {
				t.Fatal(err)
			}
			events = append(events, b.Events[:b.N]...)
		}
	}
	return events
}

// counter returns a counter of a source.
func counter(s *Source, name string) uint64 {
	for _, c := range s.Counters() {
		if c.Name == name {
			return c.Value
		}
	}
	return 0
}

// told returns events as lines: what, rule, addresses, ports, ICMP, interfaces.
func told(h *nettest.Host, events []source.Event) (lines []string) {
	names := map[uint32]string{0: "-"}
	h.Do(func() {
		if links, err := net.Interfaces(); err == nil {
			for _, l := range links {
				names[uint32(l.Index)] = l.Name
			}
		}
	})
	for _, e := range events {
		what := map[source.What]string{source.Denied: "denied", source.Logged: "logged", source.Accepted: "accepted"}[e.What]
		if e.Action == event.ActionReject {
			what = "rejected"
		}
		f := e.Flow
		line := fmt.Sprintf("%s %s %v>%v proto %d", what, e.Rule.Name, f.Src.Netip(f.Family), f.Dst.Netip(f.Family), f.Proto)
		if packet.IsICMP(f.Proto) {
			line += fmt.Sprintf(" %d/%d", e.ICMPType, e.ICMPCode)
		} else {
			line += fmt.Sprintf(" to %d", f.DstPort)
		}
		lines = append(lines, fmt.Sprintf("%s %s>%s", line, names[e.In], names[e.Out]))
	}
	return lines
}

// sends sends UDP datagrams to an address.
func sends(t testing.TB, h *nettest.Host, address string, n int) {
	t.Helper()
	h.Do(func() {
		c, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range n {
			if _, err := c.Write([]byte("x")); err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ECONNREFUSED) {
				t.Fatal(err)
			}
		}
	})
}
