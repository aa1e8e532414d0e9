package e2e

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// generator makes sessions through a router as fast as the kernel forwards them: frames of clients in lan and of servers in wan, none of
// which exists. Every session has ports or a server of its own.
type generator struct {
	tb                 testing.TB
	router             *nettest.Router
	lan, wan           *nettest.Wire
	toServer, toClient []byte
	sent               uint32 // sessions
}

const (
	loadClient = "10.20.1.77"
	loadPorts  = 60_000 // of the client: then comes the next server
)

// newGenerator prepares a router.
func newGenerator(tb testing.TB, r *nettest.Router) *generator {
	tb.Helper()
	nobody := net.HardwareAddr{2, 0, 0, 0, 0, 99} // so that the hosts do not look at what they get
	r.Route("198.18.0.0/15", "198.51.100.77")
	for name, address := range map[string]string{"lan0": loadClient, "wan0": "198.51.100.77"} {
		link := r.Link(name)
		r.Do(func() {
			err := netlink.NeighAdd(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP(address), HardwareAddr: nobody})
			if err != nil {
				tb.Fatal(err)
			}
		})
	}
	r.Set("netfilter/nf_conntrack_checksum", "0")
	client, server := netip.MustParseAddr(loadClient), netip.MustParseAddr("198.18.0.0")
	g := &generator{
		tb: tb, router: r, lan: r.LAN.Wire("eth0"), wan: r.WAN.Wire("eth0"),
		toServer: nettest.UDP{Source: client, Dest: server}.Frame([]byte("hello")),
		toClient: nettest.UDP{Source: server, Dest: client, SourcePort: 9}.Frame([]byte("hello")),
	}
	copy(g.toServer, r.Link("lan0").Attrs().HardwareAddr)
	copy(g.toClient, r.Link("wan0").Attrs().HardwareAddr)
	return g
}

// Offsets in the frames.
const (
	atChecksum, atSource, atDestination, atSourcePort, atDestinationPort = 24, 26, 30, 34, 36
)

// open sends the first packet of a new session, and if answered the server's first.
func (g *generator) open(answered bool) {
	port, server := uint16(1024+g.sent%loadPorts), 0xc6120000+g.sent/loadPorts
	g.sent++
	binary.BigEndian.PutUint16(g.toServer[atSourcePort:], port)
	binary.BigEndian.PutUint32(g.toServer[atDestination:], server)
	seal(g.toServer)
	g.lan.Send(g.toServer)
	if answered {
		binary.BigEndian.PutUint16(g.toClient[atDestinationPort:], port)
		binary.BigEndian.PutUint32(g.toClient[atSource:], server)
		seal(g.toClient)
		g.wan.Send(g.toClient)
	}
}

// seal computes the checksum of a frame's IPv4 header.
func seal(frame []byte) {
	binary.BigEndian.PutUint16(frame[atChecksum:], 0)
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(frame[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(frame[atChecksum:], ^uint16(sum))
}

// flush empties the router's table: every session in it ends.
func (g *generator) flush() {
	g.tb.Helper()
	g.router.Do(func() {
		if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
			g.tb.Fatal(err)
		}
	})
}

// sockets returns how many bytes wait in the fullest of the router's netfilter sockets, and how many messages did not fit in all of
// them.
func (g *generator) sockets() (waiting, dropped int) {
	g.tb.Helper()
	for _, s := range netfilterSockets(g.tb, g.router.Host) {
		waiting, dropped = max(waiting, s.waiting), dropped+s.dropped
	}
	return waiting, dropped
}

// await waits until no more than so many bytes wait in any of the router's netfilter sockets.
func (g *generator) await(bytes int) {
	g.tb.Helper()
	g.until(func() bool { waiting, _ := g.sockets(); return waiting <= bytes })
}

// awaitOthers does so for the sockets that do not listen to all events of connection tracking, as the daemon does.
func (g *generator) awaitOthers(bytes int) {
	g.tb.Helper()
	const all = "00000007"
	g.until(func() bool {
		return !slices.ContainsFunc(netfilterSockets(g.tb, g.router.Host), func(s netfilterSocket) bool { return s.groups != all && s.waiting > bytes })
	})
}

// until waits for what the readers of netfilter sockets do, for up to a minute.
func (g *generator) until(ok func() bool) {
	g.tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			g.tb.Fatal("a netfilter socket is not read")
		}
	}
}
