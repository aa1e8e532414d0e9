package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// firewall is a router in the place of the network's tap, with rules that translate, forward a port, and log what they do: of
// accepted connections the first packet.
type firewall struct {
	*network
	*nettest.Router
}

const firewallRules = `
table inet filter {
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname "lan0" oifname "wan0" tcp dport { 80, 443, 5201 } log prefix "ACCEPT:web-out " group 5 accept
		iifname "lan0" oifname "wan0" udp dport 53 log prefix "ACCEPT:dns-out " group 5 accept
		iifname "lan0" oifname "wan0" meta l4proto { icmp, ipv6-icmp } log prefix "ACCEPT:ping-out " group 5 accept
		iifname "lan0" oifname "dmz0" log prefix "ACCEPT:to-dmz " group 5 accept
		iifname "wan0" oifname "dmz0" ct status dnat tcp dport 80 log prefix "ACCEPT:dmz-web " group 5 accept
		iifname "lan0" tcp dport 23 counter name "no-telnet" log prefix "REJECT:no-telnet " group 5 reject with tcp reset
		iifname "lan0" udp dport 123 counter name "no-ntp" log prefix "REJECT:no-ntp " group 5 reject
		iifname "wan0" counter name "from-wan" log prefix "DROP:fwd-web " group 6 drop
		counter name "rest" log prefix "DROP:rest " group 6
	}
	counter no-telnet { }
	counter no-ntp { }
	counter from-wan { }
	counter rest { }
}
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat;
		iifname "wan0" tcp dport 8080 dnat to 10.20.2.2:80
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		iifname "lan0" oifname "wan0" masquerade
	}
}
`

// newFirewall makes the router with its rules, and servers: HTTP on port 80 and DNS in wan, HTTP in dmz, and iperf3 in wan.
func newFirewall(t testing.TB) *firewall {
	t.Helper()
	r := nettest.NewRouter(t)
	nettest.RequireCommands(t, "curl", "iperf3", "ss")
	f := &firewall{network: &network{t: t, client: r.LAN, server: r.WAN, attacker: r.WAN, tap: r.Host}, Router: r}
	for _, name := range []string{"nf_conntrack_acct", "nf_conntrack_timestamp"} {
		r.Set("netfilter/"+name, "1")
	}
	r.Rules(firewallRules)
	for _, h := range []*nettest.Host{r.WAN, r.DMZ} {
		f.serveHTTP(h)
	}
	f.serveDNS()
	return f
}

func (f *firewall) serveHTTP(h *nettest.Host) {
	f.t.Helper()
	var l net.Listener
	h.Do(func() {
		var err error
		l, err = net.Listen("tcp", ":80")
		f.must(err)
	})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 10000)) // an error means that the client has gone
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(l) }() // ErrServerClosed
	f.t.Cleanup(func() { _ = srv.Close(); <-ended })
}

// serveDNS answers every query with one address.
func (f *firewall) serveDNS() {
	f.t.Helper()
	var socket net.PacketConn
	f.WAN.Do(func() {
		var err error
		socket, err = net.ListenPacket("udp", ":53")
		f.must(err)
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 2048)
		for {
			k, from, err := socket.ReadFrom(buf)
			if err != nil {
				return
			}
			var m layers.DNS
			if m.DecodeFromBytes(buf[:k], gopacket.NilDecodeFeedback) != nil || len(m.Questions) != 1 {
				continue
			}
			m.QR, m.ANCount = true, 1
			m.Answers = []layers.DNSResourceRecord{{Name: m.Questions[0].Name, Type: layers.DNSTypeA, Class: layers.DNSClassIN, TTL: 60, IP: net.ParseIP(nettest.WANHost)}}
			answer := gopacket.NewSerializeBuffer()
			if m.SerializeTo(answer, gopacket.SerializeOptions{FixLengths: true}) == nil {
				_, _ = socket.WriteTo(answer.Bytes(), from)
			}
		}
	}()
	f.t.Cleanup(func() { _ = socket.Close(); <-ended })
}

// curl fetches a page.
func (f *firewall) curl(from *nettest.Host, url string) {
	f.t.Helper()
	if body := from.Run("curl", "--silent", "--show-error", "--globoff", "--max-time", "20", url); len(body) != 10000 {
		f.t.Fatalf("%d bytes from %s", len(body), url)
	}
}

// resolve asks the DNS server in wan for an address.
func (f *firewall) resolve(server string) {
	f.t.Helper()
	query := layers.DNS{ID: 7, RD: true, QDCount: 1, Questions: []layers.DNSQuestion{{Name: []byte("www.example.net"), Type: layers.DNSTypeA, Class: layers.DNSClassIN}}}
	buf := gopacket.NewSerializeBuffer()
	f.must(query.SerializeTo(buf, gopacket.SerializeOptions{FixLengths: true}))
	f.LAN.Do(func() {
		conn, err := net.Dial("udp", net.JoinHostPort(server, "53"))
		f.must(err)
		defer conn.Close()
		f.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
		_, err = conn.Write(buf.Bytes())
		f.must(err)
		answer := make([]byte, 512)
		k, err := conn.Read(answer)
		f.must(err)
		var m layers.DNS
		f.must(m.DecodeFromBytes(answer[:k], gopacket.NilDecodeFeedback))
		if len(m.Answers) != 1 {
			f.t.Fatalf("%d answers", len(m.Answers))
		}
	})
}

// bulk carries some MB through the router, with iperf3.
func (f *firewall) bulk() {
	f.t.Helper()
	server := exec.Command("iperf3", "--server", "--one-off")
	f.WAN.Start(server)
	listens := func() bool { // without a connection of its own
		out, err := runIn(f.WAN, "ss", "--no-header", "--listening", "--tcp", "--numeric", "sport = :5201")
		f.must(err)
		return out != ""
	}
	eventually(f.t, "iperf3 listens", listens)
	f.LAN.Run("iperf3", "--client", nettest.WANHost, "--bytes", "4M")
	f.must(server.Wait())
}

// talk fetches a page over a connection that stays, a new one if there is none.
func (f *firewall) talk(conn net.Conn) net.Conn {
	f.t.Helper()
	f.LAN.Do(func() {
		var err error
		if conn == nil {
			conn, err = net.DialTimeout("tcp", net.JoinHostPort(nettest.WANHost, "80"), 20*time.Second)
			f.must(err)
			f.t.Cleanup(func() { _ = conn.Close() })
		}
		_, err = conn.Write([]byte("GET / HTTP/1.1\r\nHost: www\r\n\r\n"))
		f.must(err)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		f.must(err)
		_, err = io.Copy(io.Discard, answer.Body)
		f.must(err)
	})
	return conn
}

// reset fetches a page, and resets the connection.
func (f *firewall) reset() {
	f.t.Helper()
	conn := f.talk(nil)
	f.must(conn.(*net.TCPConn).SetLinger(0))
	f.must(conn.Close())
}

// refused tries to connect to a port that a host answers with a reset, or the router.
func (f *firewall) refused(from *nettest.Host, address, port string) {
	f.t.Helper()
	from.Do(func() {
		if _, err := net.DialTimeout("tcp", net.JoinHostPort(address, port), 20*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
			f.t.Fatalf("%s port %s: %v", address, port, err)
		}
	})
}

// syn sends one SYN, and no other when it is not answered.
func (f *firewall) syn(from *nettest.Host, address string, port int) {
	f.t.Helper()
	from.Do(func() {
		ip := net.ParseIP(address)
		family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: port, Addr: [16]byte(ip.To16())})
		if v4 := ip.To4(); v4 != nil {
			family, to = unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: [4]byte(v4)}
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		f.must(err)
		defer unix.Close(fd)
		if err := unix.Connect(fd, to); !errors.Is(err, unix.EINPROGRESS) {
			f.t.Fatalf("connect: %v", err)
		}
	})
}

// datagram sends one, and waits for nothing.
func (f *firewall) datagram(from *nettest.Host, address, port string) {
	f.t.Helper()
	from.Do(func() {
		conn, err := net.Dial("udp", net.JoinHostPort(address, port))
		f.must(err)
		defer conn.Close()
		_, err = conn.Write([]byte("hello"))
		f.must(err)
	})
}

// traffic is a little of everything that the rules accept, and returns how many connections were made of which rule.
func (f *firewall) traffic() (accepted map[string]int) {
	f.t.Helper()
	for range 3 {
		f.curl(f.LAN, "http://"+nettest.WANHost+"/")
	}
	f.curl(f.LAN, "http://["+nettest.WANHost6+"]/")
	f.reset()
	f.refused(f.LAN, nettest.WANHost, "443")
	f.bulk() // two connections
	f.curl(f.WAN, "http://"+nettest.WANRouter+":8080/")
	f.curl(f.LAN, "http://"+nettest.DMZHost+"/")
	f.resolve(nettest.WANHost)
	f.resolve(nettest.WANHost)
	f.resolve(nettest.WANHost6)
	for _, address := range []string{nettest.WANHost, nettest.WANHost6} {
		f.LAN.Run("ping", "-c", "3", "-i", "0.01", "-W", "20", address)
	}
	return map[string]int{"web-out": 8, "dmz-web": 1, "to-dmz": 1, "dns-out": 3, "ping-out": 2}
}

// attempts is what the rules refuse: each is one packet. It returns how many there are of which rule.
func (f *firewall) attempts() (denied map[string]int) {
	f.t.Helper()
	f.refused(f.LAN, nettest.WANHost, "23")
	f.refused(f.LAN, nettest.WANHost6, "23")
	f.datagram(f.LAN, nettest.WANHost, "123")
	f.syn(f.LAN, nettest.WANHost, 25)
	f.syn(f.DMZ, nettest.WANHost, 80)
	f.syn(f.WAN, nettest.LANHost6, 22)
	for port := range 5 {
		f.datagram(f.WAN, nettest.DMZHost6, fmt.Sprint(7000+port))
	}
	return map[string]int{"no-telnet": 2, "no-ntp": 1, "fwd-web": 6, "rest": 2}
}
