package e2e

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// transferPort is where the server of a transfer listens, and transferRate how fast the client sends, in bytes per second.
const (
	transferPort = 5001
	transferRate = 8 << 20
)

// receiveAll takes one connection, reads all of it, and answers with how many bytes that were.
func (n *network) receiveAll() {
	n.t.Helper()
	n.server.Do(func() {
		l, err := net.Listen("tcp", fmt.Sprint(":", transferPort))
		n.must(err)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			k, _ := io.Copy(io.Discard, conn) // the client compares
			_, _ = fmt.Fprintf(conn, "%d", k)
			_ = conn.Close()
		}()
		n.t.Cleanup(func() { _ = l.Close(); <-ended })
	})
}

// transfer sends to the server until stop is closed, and then ends the connection. It returns how many bytes that were.
func (n *network) transfer(stop <-chan struct{}, progress *atomic.Int64) (sent int64) {
	n.t.Helper()
	n.client.Do(func() {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(serverIP, fmt.Sprint(transferPort)), 20*time.Second)
		n.must(err)
		defer conn.Close()
		raw, err := conn.(*net.TCPConn).SyscallConn()
		n.must(err)
		n.must(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, transferRate)
		}))
		n.must(err)
		n.must(conn.SetDeadline(time.Now().Add(90 * time.Second)))
		block := make([]byte, 64<<10)
		for running := true; running; {
			k, err := conn.Write(block)
			n.must(err)
			sent += int64(k)
			progress.Store(sent)
			select {
			case <-stop:
				running = false
			default:
			}
		}
		n.must(conn.(*net.TCPConn).CloseWrite())
		answer, err := io.ReadAll(conn)
		n.must(err)
		if string(answer) != strconv.FormatInt(sent, 10) {
			n.t.Errorf("the server has got %s of %d bytes", answer, sent)
		}
	})
	return sent
}

// A transfer goes on through the bridge while it is flooded with SYNs and its ports are scanned, its record has every packet, and the
// accounts of the packets balance, from the XDP program to the transmit ring.
func TestBridgeFlooded(t *testing.T) {
	n := bridged(t)
	n.receiveAll()
	d := startWith(n, strings.NewReplacer(`hooks   = ["policies"]`, `hooks   = ["screens", "policies"]`, "[sinks.events]",
		"[hooks.screens]\nplugin = \"screendrop\"\nzones = [\"outside\"]\ntcp = { port-scan = true }\n[admission.policy-deny]\nrate = 100\nburst = 100\n[sinks.events]").Replace(bridgeConfig), "")
	client, server := n.sniff(n.client), n.sniff(n.server)
	wire := n.server.Wire("eth0")

	stop, done := make(chan struct{}), make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	t.Cleanup(func() { end(); <-done })
	var progress atomic.Int64
	var sent int64
	go func() {
		defer close(done)
		sent = n.transfer(stop, &progress)
	}()
	eventually(t, "the transfer has begun", func() bool { return progress.Load() > 0 })
	before := progress.Load()
	flooded := make(chan uint64, 1)
	frame := synFrame(t) // from outside to an address inside, which nobody permits
	copy(frame[30:34], net.ParseIP(clientIP).To4())
	go func() {
		k, err := n.server.Flood(t.Context(), nettest.Flood{Device: "eth0", Frame: frame, KeepPayload: true, Flows: 1 << 16, Count: 1 << 20, For: time.Minute})
		if err != nil {
			t.Error(err)
		}
		flooded <- k
	}()
	scan := synFrame(t)
	copy(scan[26:34], append(net.IPv4(10, 9, 3, 3).To4(), net.ParseIP(clientIP).To4()...))
	for port := range 2000 {
		scan[36], scan[37] = byte(port>>8), byte(port)
		_ = wire.TrySend(scan) // the flood leaves not always room in the other end's ring
		client.read()
		server.read()
	}
	packets := <-flooded
	during := progress.Load() - before
	end()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			client.read()
			server.read()
		}
	}
	t.Logf("%d bytes, %d of them during a flood of %d packets", sent, during, packets)
	if during == 0 {
		t.Error("the transfer stood still during the flood")
	}

	// The record has what has crossed.
	var line string
	eventually(t, "the record of the transfer", func() bool {
		for l := range strings.Lines(d.events()) {
			if strings.Contains(l, "RT_FLOW_SESSION_CLOSE") && strings.Contains(l, `destination-port="5001"`) {
				line = l
			}
		}
		return line != ""
	})
	client.read()
	server.read()
	for _, side := range []struct {
		name   string
		frames map[string][][]byte
	}{{"client", server.received}, {"server", client.received}} {
		frames, size := 0, 0
		for _, flow := range side.frames {
			var h packet.Headers
			packet.Decode(flow[0], len(flow[0]), &h)
			if h.SrcPort != transferPort && h.DstPort != transferPort {
				continue
			}
			for _, f := range flow {
				packet.Decode(f, len(f), &h)
				frames, size = frames+1, size+int(h.IPLen)
			}
		}
		for key, want := range map[string]int{"packets-from-": frames, "bytes-from-": size} {
			match := regexp.MustCompile(key + side.name + `="(\d+)"`).FindStringSubmatch(line)
			if match == nil || match[1] != strconv.Itoa(want) {
				t.Errorf("%s%s: want %d in %s", key, side.name, want, line)
			}
		}
	}
	if count(d.events(), "RT_SCREEN_TCP") == 0 {
		t.Error("no record of the scan")
	}

	eventually(t, "the accounts balance", func() bool {
		p := d.status().Ledger.Packets
		metrics := d.fetch("/metrics")
		c := func(name string) uint64 { return sum(t, metrics, "pipelined_source_total", `counter="`+name+`"`) }
		lost := c("tx_no_room") + c("tx_too_long") + c("tx_down") + c("peer_away")
		balances := p.Received == p.Forwarded+p.NotSent+p.Passed+p.Dropped+p.Refused &&
			c("redirected") == c("received")+c("rx_dropped")+c("rx_ring_full") && c("received")+c("carried") == p.Received &&
			c("carried") == p.Offloaded && c("sent")+p.Offloaded == p.Forwarded+c("answers") && p.NotSent+c("answers_not_sent") == lost
		return balances && p.NotSent == 0 && p.Received >= 2000
	})
	d.stop()
}
