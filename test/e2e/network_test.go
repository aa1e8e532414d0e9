package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// network is one Ethernet segment: a bridge that forgets what it learns, so that every port sees every frame, as behind
// the mirror port of a switch.
type network struct {
	t                                  testing.TB
	hub, client, server, attacker, tap *nettest.Host
	bpffs                              string // of a bridge
}

const (
	clientIP, serverIP, attackerIP    = "10.9.1.2", "10.9.2.2", "10.9.3.2"
	clientIP6, serverIP6, attackerIP6 = "fd00:9:1::2", "fd00:9:2::2", "fd00:9:3::2"
)

func newNetwork(t *testing.T) *network {
	t.Helper()
	nettest.Require(t)
	n := &network{
		t: t, hub: nettest.NewHost(t), client: nettest.NewHost(t), server: nettest.NewHost(t),
		attacker: nettest.NewHost(t), tap: nettest.NewHost(t),
	}
	n.hub.Do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "hub"
		ageing, snooping := uint32(0), false
		n.must(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, AgeingTime: &ageing, MulticastSnooping: &snooping}))
	})
	n.hub.SetUp("hub")
	n.plug("tap", n.tap, "tap0")
	n.plug("client", n.client, "eth0", clientIP+"/16", clientIP6+"/32")
	n.plug("server", n.server, "eth0", serverIP+"/16", serverIP6+"/32")
	n.plug("attacker", n.attacker, "eth0", attackerIP+"/16", attackerIP6+"/32")
	return n
}

func (n *network) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// plug joins a host to the segment.
func (n *network) plug(port string, h *nettest.Host, name string, addresses ...string) {
	n.t.Helper()
	nettest.Cable(n.hub, port, h, name, 2)
	for _, a := range addresses {
		h.Address(name, a)
	}
	n.join(port)
}

// join makes a port of the segment send and receive.
func (n *network) join(port string) {
	n.t.Helper()
	bridge, link := n.hub.Link("hub"), n.hub.Link(port)
	n.hub.Do(func() { n.must(netlink.LinkSetMaster(link, bridge)) })
}

// mirrored returns how many frames the segment has sent to the tap.
func (n *network) mirrored() uint64 { return n.hub.Link("tap").Attrs().Statistics.TxPackets }

// serve starts an HTTP and a UDP echo server on the server host.
func (n *network) serve() {
	n.t.Helper()
	n.server.Do(func() {
		l, err := net.Listen("tcp", ":80")
		n.must(err)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 10000)) // an error means that the client has gone
		})}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = srv.Serve(l) }() // ErrServerClosed
		n.t.Cleanup(func() { _ = srv.Close(); <-ended })
		u, err := net.ListenPacket("udp", ":7")
		n.must(err)
		echoed := make(chan struct{})
		go func() {
			defer close(echoed)
			buf := make([]byte, 2048)
			for {
				k, from, err := u.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = u.WriteTo(buf[:k], from)
			}
		}()
		n.t.Cleanup(func() { _ = u.Close(); <-echoed })
	})
}

// get fetches a page over a connection of its own.
func (n *network) get(host *nettest.Host, address string) {
	n.t.Helper()
	host.Do(func() {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, "80"), 20*time.Second)
		n.must(err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "GET / HTTP/1.0\r\n\r\n")
		n.must(err)
		body, err := io.ReadAll(conn)
		n.must(err)
		if len(body) < 10000 {
			n.t.Fatalf("%d bytes from %s", len(body), address)
		}
	})
}

// echo sends a datagram to the UDP echo server and waits for the answer.
func (n *network) echo(address string) {
	n.t.Helper()
	n.client.Do(func() {
		conn, err := net.Dial("udp", net.JoinHostPort(address, "7"))
		n.must(err)
		defer conn.Close()
		n.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
		_, err = conn.Write([]byte("hello"))
		n.must(err)
		_, err = conn.Read(make([]byte, 16))
		n.must(err)
	})
}

// knock tries to connect to a port of the server, and does not care what comes of it.
func (n *network) knock(port int) {
	n.t.Helper()
	n.attacker.Do(func() {
		if conn, err := net.DialTimeout("tcp", net.JoinHostPort(serverIP, fmt.Sprint(port)), time.Second); err == nil {
			_ = conn.Close()
		}
	})
}

func (n *network) ping(address string, count int) {
	n.t.Helper()
	n.client.Run("ping", "-c", fmt.Sprint(count), "-i", "0.05", "-W", "20", address)
}

// eventually waits until ok, looking every 20 ms for up to half a minute.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited half a minute: %s", what)
		}
	}
}

// xdpAttached reports whether an XDP program is on the tap's interface.
func (n *network) xdpAttached() bool {
	xdp := n.tap.Link("tap0").Attrs().Xdp
	return xdp != nil && xdp.Attached
}

// runIn runs a command in a host's namespace and returns what it wrote and how it ended.
func runIn(h *nettest.Host, name string, args ...string) (out string, err error) {
	h.Do(func() {
		var b []byte
		b, err = exec.Command(name, args...).CombinedOutput()
		out = string(b)
	})
	return out, err
}
