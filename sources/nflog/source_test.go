package nflog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// TestVerdicts sends packets through a firewall that drops, rejects, accepts and logs.
func TestVerdicts(t *testing.T) {
	nettest.Require(t)
	r := nettest.NewRouter(t)
	lan, fw := r.LAN, r.Host
	r.Rules(`
		table inet filter {
			chain input {
				type filter hook input priority filter; policy accept;
				icmp type echo-request log prefix "[UFW BLOCK] " group 5 drop
				udp dport 53 log prefix "DNS " group 6
			}
			chain forward {
				type filter hook forward priority filter; policy accept;
				udp dport 81 log prefix "DROP:fwd-web " group 5 drop
				tcp dport 82 log prefix "filter_FWD_lan_REJECT: " group 5 reject with tcp reset
				icmpv6 type echo-request log prefix "DROP:ping6 " group 5 drop
				ct state new log prefix "ACCEPT:lan-out " group 6 accept
			}
		}`)
	s := open(t, fw, `{"groups": [5, 6]}`)
	step := func(want string, send func()) {
		t.Helper()
		send()
		if got := told(fw, events(t, s, 1)); len(got) != 1 || got[0] != want {
			t.Errorf("told of %q, want %q", got, want)
		}
	}
	step("denied fwd-web 10.20.1.2>198.51.100.2 proto 17 to 81 lan0>wan0", func() { sends(t, lan, "198.51.100.2:81", 1) })
	step("denied fwd-web fd20:1::2>fd20:3::2 proto 17 to 81 lan0>wan0", func() { sends(t, lan, "[fd20:3::2]:81", 1) })
	step("accepted lan-out 10.20.1.2>198.51.100.2 proto 17 to 99 lan0>wan0", func() { sends(t, lan, "198.51.100.2:99", 1) })
	step("logged DNS 10.20.1.2>10.20.1.1 proto 17 to 53 lan0>-", func() { sends(t, lan, "10.20.1.1:53", 1) })
	step("rejected filter_FWD_lan 10.20.1.2>198.51.100.2 proto 6 to 82 lan0>wan0", func() {
		lan.Do(func() {
			if _, err := net.DialTimeout("tcp", "198.51.100.2:82", patience); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("connected with %v", err)
			}
		})
	})
	ping := func(address string) func() {
		return func() { lan.Run("sh", "-c", "ping -c 1 -W 0.01 "+address+" || true") }
	}
	step("denied UFW 10.20.1.2>10.20.1.1 proto 1 8/0 lan0>-", ping("10.20.1.1"))
	step("denied ping6 fd20:1::2>fd20:3::2 proto 58 128/0 lan0>wan0", ping("fd20:3::2"))
	balanced(t, s)
	groups := s.Status().(Status).Groups
	want := []GroupStatus{{Group: 5, Denied: 4, Rejected: 1}, {Group: 6, Accepted: 1, Logged: 1}}
	if diff := cmp.Diff(want, groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// TestShownRules loads the rules that the README and the sample show.
func TestShownRules(t *testing.T) {
	nettest.Require(t)
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, fromPage, _ := strings.Cut(string(page), "\n```\ntable ")
	fromPage, _, _ = strings.Cut(fromPage, "\n```\n")
	var fromSample strings.Builder
	for line := range strings.Lines(sample) {
		if rule, ok := strings.CutPrefix(line, "#     "); ok {
			fromSample.WriteString(rule)
		}
	}
	for _, rules := range []string{"table " + fromPage, "table inet filter {\n" + fromSample.String() + "}\n"} {
		r := nettest.NewRouter(t)
		r.Rules(rules)
		s := open(t, r.Host, `{"groups": [5]}`)
		sends(t, r.LAN, nettest.WANHost+":9", 1)
		sends(t, r.DMZ, nettest.LANHost+":9", 1)
		want := []string{
			"accepted lan-out 10.20.1.2>198.51.100.2 proto 17 to 9 lan0>wan0",
			"denied fwd-default 10.20.2.2>10.20.1.2 proto 17 to 9 dmz0>lan0",
		}
		if diff := cmp.Diff(want, told(r.Host, events(t, s, 2))); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", rules, diff)
		}
	}
}

// TestLinkLayers logs in a bridge, and before and behind the IP layer of an interface, with and without VLAN tags.
func TestLinkLayers(t *testing.T) {
	nettest.Require(t)
	a, bridge, b := nettest.NewHost(t), nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(a, "eth0", bridge, "port1", 1)
	nettest.Cable(bridge, "port2", b, "eth0", 1)
	bridge.Run("ip", "link", "add", "br0", "type", "bridge")
	for _, name := range []string{"port1", "port2"} {
		bridge.Run("ip", "link", "set", name, "master", "br0")
	}
	bridge.SetUp("br0")
	bridge.Run("nft", `
		table bridge filter { chain forward { type filter hook forward priority 0; log prefix "DROP:bridge " group 5; }; }
		table netdev ports {
			chain in { type filter hook ingress device "port1" priority 0; log prefix "ACCEPT:in " group 6; }
			chain out { type filter hook egress device "port2" priority 0; log prefix "ACCEPT:out " group 7; }
		}`)
	s := open(t, bridge, `{"groups": [5, 6, 7]}`)
	wire := a.Wire("eth0")
	// udpOnly leaves out what the bridge sends by itself.
	udpOnly := func(n int) (lines []string) {
		for len(lines) < n {
			for _, line := range told(bridge, events(t, s, 1)) {
				if strings.Contains(line, " proto 17 ") {
					lines = append(lines, line)
				}
			}
		}
		return lines
	}
	for _, tags := range [][]uint16{nil, {7}, {7, 8}} {
		wire.Send(nettest.UDP{VLANs: tags}.Frame([]byte("payload")))
		got := udpOnly(3)
		want := []string{
			"accepted in 192.0.2.1>192.0.2.2 proto 17 to 9 port1>-",
			"denied bridge 192.0.2.1>192.0.2.2 proto 17 to 9 port1>port2",
			"accepted out 192.0.2.1>192.0.2.2 proto 17 to 9 ->port2",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("tags %v (-want +got):\n%s", tags, diff)
		}
	}
	arp := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6}, make([]byte, 46)...)
	wire.Send(arp)
	wire.Send(nettest.UDP{}.Frame([]byte("payload")))
	udpOnly(3)
	if n := counter(s, "not_ip"); n != 3 {
		t.Errorf("%d packets without an IP header, want ARP three times", n)
	}
	balanced(t, s)
}

// TestBeforeSession waits for conntrack's message of a new session: the packet that began it was logged before.
func TestBeforeSession(t *testing.T) {
	nettest.Require(t)
	h := nettest.NewHost(t)
	h.Run("nft", `table inet f { chain out { type filter hook output priority 0; ct state new log prefix "ACCEPT:x " group 5; }; }`)
	s := open(t, h, `{"groups": [5]}`)
	var sessions *nfnetlink.Socket
	var err error
	h.Do(func() { sessions, err = nfnetlink.Open() })
	if err != nil {
		t.Fatal(err)
	}
	defer sessions.Close()
	if err := sessions.Join(unix.NFNLGRP_CONNTRACK_NEW); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		sends(t, h, fmt.Sprintf("127.0.0.1:%d", 1000+i), 1)
		if !readable(t, sessions.FD(), patience) {
			t.Fatal("no session")
		}
		if n, err := sessions.Receive(); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		if !readable(t, s.FD(), 0) {
			t.Fatal("conntrack tells of a session whose packet is not there yet")
		}
		if got := events(t, s, 1); got[0].What != source.Accepted || got[0].Flow.DstPort != uint16(1000+i) {
			t.Errorf("%+v", got)
		}
	}
}

// TestIptables logs by the target NFLOG.
func TestIptables(t *testing.T) {
	nettest.Require(t)
	nettest.RequireCommands(t, "iptables")
	h := nettest.NewHost(t)
	h.Run("iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "9", "-j", "NFLOG", "--nflog-group", "5", "--nflog-prefix", "Shorewall:fw2net:DROP:")
	s := open(t, h, `{"groups": [5]}`)
	sends(t, h, "127.0.0.1:9", 1)
	if got := told(h, events(t, s, 1)); got[0] != "denied fw2net 127.0.0.1>127.0.0.1 proto 17 to 9 ->lo" {
		t.Errorf("told of %q", got)
	}
}
