package conntrack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// rules translate the source of what leaves by wan0, and the port 8080 there to the host in dmz.
const rules = `
table inet f {
	chain forward { type filter hook forward priority 0; ct state established,related accept; udp dport 53 ct mark set 0x17; }
	chain prerouting { type nat hook prerouting priority dstnat; iifname "wan0" ip daddr 198.51.100.1 tcp dport 8080 dnat ip to 10.20.2.2:80; }
	chain postrouting { type nat hook postrouting priority srcnat; oifname "wan0" ip saddr 10.20.0.0/16 masquerade; }
}`

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// watched is an open source in the router's namespace, read by the test.
type watched struct {
	t      *testing.T
	source *Source
	batch  source.EventBatch
	events []source.Event
}

func newRouter(t *testing.T) *nettest.Router {
	t.Helper()
	nettest.Require(t)
	r := nettest.NewRouter(t)
	r.Rules(rules)
	return r
}

func watch(t *testing.T, host *nettest.Host, c Config) *watched {
	t.Helper()
	if c.Buffer == 0 {
		c.Buffer = 1 << 20
	}
	w := &watched{t: t}
	var err error
	host.Do(func() { w.source, err = Open(c) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.source.Close(); err != nil {
			t.Error(err)
		}
	})
	w.until("the dump at the start", func() bool {
		r := &w.source.stream.resync
		return !r.first && r.sweep == 0
	})
	return w
}

// until reads until something has happened.
func (w *watched) until(what string, done func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		now := time.Now()
		again, err := w.source.stream.Read(&w.batch, now.UnixNano(), now.UnixNano())
		if err != nil {
			w.t.Fatal(err)
		}
		w.events = append(w.events, w.batch.Events[:w.batch.N]...)
		if done() {
			return
		}
		if now.After(deadline) {
			w.t.Fatalf("not yet: %s\n%s", what, w.print())
		}
		if again != 0 {
			wait := 100 * time.Millisecond
			if again > 0 {
				wait = min(wait, again)
			}
			polled := []unix.PollFd{{Fd: int32(w.source.stream.FD()), Events: unix.POLLIN}}
			if _, err := unix.Poll(polled, int(wait.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *watched) print() string {
	var b strings.Builder
	for i := range w.events {
		fmt.Fprintf(&b, "%+v\n", w.events[i])
	}
	for _, c := range w.source.Counters() {
		fmt.Fprintf(&b, "%s %d\n", c.Name, c.Value)
	}
	return b.String()
}

// of returns the events of sessions to that port, or of ICMP for 0.
func (w *watched) of(what source.What, proto uint8, port uint16) (list []source.Event) {
	for _, e := range w.events {
		if e.What == what && e.Flow.Proto == proto && e.Flow.DstPort == port {
			list = append(list, e)
		}
	}
	return list
}

// expired waits for the end of a session by its timeout, and has the kernel look for entries that have expired: by itself it
// does so only after a while.
func (w *watched) expired(r *nettest.Router, proto uint8, port uint16) {
	w.t.Helper()
	w.until("expired", func() bool {
		r.Run("conntrack", "-L")
		return len(w.of(source.Ended, proto, port)) > 0
	})
}

// one waits for the only event of that sort.
func (w *watched) one(what source.What, proto uint8, port uint16) source.Event {
	w.t.Helper()
	w.until(fmt.Sprintf("%v, protocol %d, port %d", what, proto, port), func() bool { return len(w.of(what, proto, port)) > 0 })
	list := w.of(what, proto, port)
	if len(list) > 1 {
		w.t.Errorf("%v, protocol %d, port %d: %d times", what, proto, port, len(list))
	}
	return list[0]
}

func addrPort(a packet.Addr, port uint16, f packet.Family) string {
	return netip.AddrPortFrom(a.Netip(f), port).String()
}

// ends returns both ends of a session: as the client sees them, and as the server does.
func ends(e *source.Event) string {
	f := e.Flow.Family
	return fmt.Sprintf("%s > %s, %s > %s", addrPort(e.Flow.Src, 0, f), addrPort(e.Flow.Dst, e.Flow.DstPort, f),
		addrPort(e.Reply.Dst, 0, f), addrPort(e.Reply.Src, e.Reply.SrcPort, f))
}

// serve accepts connections on a host. It sends what it receives back until the client has sent all, and resets the connection if
// the first byte is 'r'.
func serve(t *testing.T, host *nettest.Host, address string) {
	t.Helper()
	var l net.Listener
	var err error
	host.Do(func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b, _ := io.ReadAll(c)
				if len(b) > 0 && b[0] == 'r' {
					_ = c.(*net.TCPConn).SetLinger(0)
				} else {
					_, _ = c.Write(b)
				}
				_ = c.Close()
			}()
		}
	}()
}

// talk sends text on a connection from a host, and reads all that comes back.
func talk(t *testing.T, host *nettest.Host, address, text string) {
	t.Helper()
	var c net.Conn
	var err error
	host.Do(func() { c, err = net.Dial("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(c) // an error, if the server resets it
}
