package nflog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/nfnetlink"
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

// TestGapLive does not read while more packets are logged than fit, and finds each of them told of or lost.
func TestGapLive(t *testing.T) {
	nettest.Require(t)
	h := nettest.NewHost(t)
	h.Run("nft", `table inet f { chain out { type filter hook output priority 0; udp dport 9 log prefix "DROP:x " group 5 drop; }; }`)
	s := open(t, h, `{"groups": [5], "buffer": "64KiB"}`)
	const sent = 3000
	sends(t, h, "127.0.0.1:9", sent)
	read, lost := uint64(0), uint64(0)
	add := func(events []source.Event) {
		for _, e := range events {
			if e.What == source.Lost {
				lost += e.Lost[event.PolicyDeny]
			} else {
				read++
			}
		}
	}
	add(events(t, s, 1))
	if lost == 0 || read+lost != sent || read < 50 {
		t.Errorf("%d read and %d lost of %d", read, lost, sent)
	}
	// The gap that it makes is known already.
	sends(t, h, "127.0.0.1:9", 1)
	after := events(t, s, 1)
	if add(after); len(after) != 1 || read+lost != sent+1 {
		t.Errorf("after it %d read and %d lost of %d, the last %+v", read, lost, sent+1, after)
	}
	if counter(s, "lost") != lost || counter(s, "overruns") == 0 || s.Status().(Status).Groups[0].Missing != lost {
		t.Errorf("%d lost: %+v", lost, s.Status())
	}
	balanced(t, s)
}

// TestGapOfSeveral does the same with messages of several packets.
func TestGapOfSeveral(t *testing.T) {
	nettest.Require(t)
	h := nettest.NewHost(t)
	h.Run("nft", `table inet f { chain out { type filter hook output priority 0; udp dport 9 log prefix "DROP:x " group 5 drop; }; }`)
	s := open(t, h, `{"groups": [5], "buffer": "64KiB", "queue_threshold": 20, "flush": "1m"}`)
	sends(t, h, "127.0.0.1:9", 3000)
	events(t, s, 1)
	if lost := counter(s, "lost"); lost == 0 || lost%20 != 0 || counter(s, "denied")+lost < 3000 {
		t.Errorf("%d read and at most %d lost of 3000", counter(s, "denied"), lost)
	}
	bound := counter(s, "lost")
	sends(t, h, "127.0.0.1:9", 20)
	missing := func() uint64 { return s.Status().(Status).Groups[0].Missing }
	for counter(s, "denied")+missing() < 3020 {
		events(t, s, 1)
	}
	if read := counter(s, "denied"); read+missing() != 3020 || missing() > bound || counter(s, "lost") != bound {
		t.Errorf("%d read, %d missing, %d then %d lost", read, missing(), bound, counter(s, "lost"))
	}
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
	if _, err := exec.LookPath("iptables"); err != nil {
		if os.Getenv("PIPELINED_REQUIRE_XDP") == "1" {
			t.Fatal(err)
		}
		t.Skip("needs iptables: make needs")
	}
	h := nettest.NewHost(t)
	h.Run("iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "9", "-j", "NFLOG", "--nflog-group", "5", "--nflog-prefix", "Shorewall:fw2net:DROP:")
	s := open(t, h, `{"groups": [5]}`)
	sends(t, h, "127.0.0.1:9", 1)
	if got := told(h, events(t, s, 1)); got[0] != "denied fw2net 127.0.0.1>127.0.0.1 proto 17 to 9 ->lo" {
		t.Errorf("told of %q", got)
	}
}

// TestGroupTaken opens a group that another socket has, and then one that has become free.
func TestGroupTaken(t *testing.T) {
	nettest.Require(t)
	h := nettest.NewHost(t)
	c := config(t, `{"groups": [4, 5]}`)
	h.Do(func() {
		first, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		c.Groups = []uint16{6, 5}
		_, err = Open(c)
		if !errors.Is(err, ErrGroupTaken) || !strings.Contains(err.Error(), "NFLOG group 5: another process reads the group (") ||
			!strings.HasSuffix(err.Error(), "): stop it, or choose another group") {
			t.Errorf("opened with %v", err)
		}
		// Another user, who has the capability, cannot read who has the group.
		become := func(id int) {
			_, err := unix.SetfsgidRetGid(id)
			_, more := unix.SetfsuidRetUid(id)
			if err := errors.Join(err, more); err != nil {
				t.Fatal(err)
			}
		}
		become(65534)
		_, err = Open(c)
		become(0)
		if !errors.Is(err, ErrGroupTaken) || !strings.Contains(err.Error(), "(often ulogd2)") {
			t.Errorf("opened by another user with %v", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		second, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNoCapability opens a group without CAP_NET_ADMIN.
func TestNoCapability(t *testing.T) {
	nettest.Require(t)
	nettest.NewHost(t).Do(func() { // whose thread is this goroutine's
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var before [2]unix.CapUserData
		if err := unix.Capget(&header, &before[0]); err != nil {
			t.Fatal(err)
		}
		less := before
		less[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &less[0]); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Capset(&header, &before[0]); err != nil {
				t.Fatal(err)
			}
		}()
		_, err := Open(config(t, `{"groups": [5]}`))
		if !errors.Is(err, nfnetlink.ErrPermission) || errors.Is(err, ErrGroupTaken) {
			t.Errorf("opened with %v", err)
		}
	})
}

// TestRefusals says what the kernel's other answers mean.
func TestRefusals(t *testing.T) {
	for _, c := range []struct{ answer, want error }{
		{unix.EINVAL, ErrNoNFLOG}, {unix.EBUSY, ErrGroupTaken}, {unix.ENOMEM, unix.ENOMEM}, {nfnetlink.ErrNoAnswer, nfnetlink.ErrNoAnswer},
	} {
		if err := refusal(5, c.answer); !errors.Is(err, c.want) {
			t.Errorf("%v is %v, want %v", c.answer, err, c.want)
		}
	}
}
