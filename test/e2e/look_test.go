package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

const lookConfig = `
[pipeline]
sources = ["live"]
hooks   = ["policies"]
sinks   = ["events"]
[zones.lan]
interfaces = ["lan0"]
prefixes   = ["10.9.1.0/24"]
[zones.wan]
interfaces = ["wan0"]
prefixes   = ["10.9.2.0/24"]
[sources.live]
plugin     = "afpacket"
interfaces = ["lan0", "wan0"]
workers    = 2
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name        = "no-telnet"
from        = "lan"
to          = "wan"
application = "junos-telnet"
then        = "deny"
[[hooks.policies.policy]]
name = "out"
from = "lan"
to   = "wan"
then = "permit"
[sessions]
icmp_timeout = "2s"
udp_timeout  = "2s"
[sinks.events]
plugin = "file"
path   = "DIR/events.log"
[service]
metrics = "127.0.0.1:9464"
drain   = "5s"
`

// router is a network whose tap is a router between client and server.
func router(t *testing.T) *network {
	t.Helper()
	nettest.Require(t)
	n := &network{t: t, client: nettest.NewHost(t), server: nettest.NewHost(t), tap: nettest.NewHost(t)}
	nettest.Cable(n.client, "eth0", n.tap, "lan0", 2)
	nettest.Cable(n.server, "eth0", n.tap, "wan0", 2)
	n.client.Address("eth0", clientIP+"/24")
	n.tap.Address("lan0", "10.9.1.1/24")
	n.tap.Address("wan0", "10.9.2.1/24")
	n.server.Address("eth0", serverIP+"/24")
	n.client.Route("10.9.2.0/24", "10.9.1.1")
	n.server.Route("10.9.1.0/24", "10.9.2.1")
	n.tap.Do(func() { n.must(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)) })
	return n
}

// TestLook looks at a router that goes on forwarding, with no capability but CAP_NET_RAW: every session has its two records,
// with the zones of the interfaces, and its packets and bytes are those that were sent, however the kernel has merged them.
func TestLook(t *testing.T) {
	n := router(t)
	n.serve()
	d := startWith(n, lookConfig, "", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
		"--inh-caps=-all,+net_raw", "--ambient-caps=+net_raw", "--bounding-set=-all,+net_raw")
	const pages, datagrams, size = 5, 3, 4 << 20
	for range pages {
		n.get(n.client, serverIP)
	}
	for range datagrams {
		n.echo(serverIP)
	}
	n.ping(serverIP, 2)
	sent := n.upload(size)
	n.client.Do(func() { // denied by the policies, and answered by the server all the same
		if conn, err := net.DialTimeout("tcp", net.JoinHostPort(serverIP, "23"), 5*time.Second); err == nil {
			_ = conn.Close()
			t.Error("somebody listens on port 23")
		}
	})

	const created, closed, denied = "RT_FLOW_SESSION_CREATE", "RT_FLOW_SESSION_CLOSE", "RT_FLOW_SESSION_DENY"
	eventually(t, "every session is closed", func() bool {
		events := d.events()
		return count(events, closed) == count(events, created) && count(events, closed, `service-name="junos-http"`) == pages &&
			count(events, closed, `destination-port="7"`) == datagrams && count(events, closed, `destination-port="9000"`) == 1 &&
			count(events, closed, `protocol-id="1"`) > 0
	})
	s := d.status()
	d.stop()
	if p := s.Ledger.Packets; p.Lost != 0 || p.Refused != 0 {
		t.Errorf("%d packets lost, %d refused", p.Lost, p.Refused)
	}
	events := d.events()
	if all, right := count(events, closed), count(events, closed, `source-address="`+clientIP+`"`, `destination-address="`+serverIP+`"`,
		`source-zone-name="lan"`, `destination-zone-name="wan"`, `policy-name="out"`); right != all {
		t.Errorf("%d of %d sessions are from the client to the server:\n%s", right, all, events)
	}
	if got := count(events, denied); got != count(events, denied, `source-address="`+clientIP+`"`, `destination-port="23"`) || got == 0 {
		t.Errorf("denied:\n%s", events)
	}
	for line := range strings.Lines(events) {
		if !strings.Contains(line, closed) || !strings.Contains(line, `destination-port="9000"`) {
			continue
		}
		// A SYN has 20 bytes of options here, the others 12; the data is the rest.
		packets, bytes := number(t, line, "packets-from-client"), number(t, line, "bytes-from-client")
		if data := bytes - 52*packets - 8; packets != int(sent.Segs_out) || data != int(sent.Bytes_sent) {
			t.Errorf("%d packets of %d bytes carry %d bytes of data; the client has sent %d packets with %d", packets, bytes, data, sent.Segs_out, sent.Bytes_sent)
		}
	}
}

// upload sends so many bytes over a TCP connection to port 9000 of the server, and returns what the client's kernel has counted
// in the end, repetitions included.
func (n *network) upload(size int) (sent *unix.TCPInfo) {
	n.t.Helper()
	var listener net.Listener
	n.server.Do(func() {
		var err error
		listener, err = net.Listen("tcp4", ":9000")
		n.must(err)
	})
	received := make(chan error, 1)
	go func() {
		received <- func() error {
			conn, err := listener.Accept()
			if err != nil {
				return err
			}
			defer conn.Close()
			if got, err := io.Copy(io.Discard, conn); err != nil || got != int64(size) {
				return fmt.Errorf("%d of %d bytes: %w", got, size, err)
			}
			return nil
		}()
	}()
	n.client.Do(func() {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(serverIP, "9000"), 5*time.Second)
		n.must(err)
		defer conn.Close()
		_, err = conn.Write(make([]byte, size))
		n.must(err)
		tcp := conn.(*net.TCPConn)
		n.must(tcp.CloseWrite())
		_, err = conn.Read(make([]byte, 1))
		if !errors.Is(err, io.EOF) {
			n.t.Fatalf("%v instead of the end", err)
		}
		raw, err := tcp.SyscallConn()
		n.must(err)
		n.must(raw.Control(func(fd uintptr) { sent, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) }))
		n.must(err)
	})
	n.must(<-received)
	n.must(listener.Close())
	return sent
}

// number returns a number among the parameters of an event.
func number(t *testing.T, line, name string) int {
	t.Helper()
	found := regexp.MustCompile(` ` + name + `="(\d+)"`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("no %s in %s", name, line)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
