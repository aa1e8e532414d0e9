package translation

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

const rules = `
table ip nat {
	chain post { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }
	chain pre { type nat hook prerouting priority dstnat; iifname "wan0" udp dport 8053 dnat to 10.20.2.2:53; }
}
table ip6 filter {
	chain forward { type filter hook forward priority filter; ct state established accept; }
}`

// send sends a datagram from a host and returns the flow that it begins. The port is the sender's.
func send(t *testing.T, from *nettest.Host, port int, to string) packet.Tuple {
	t.Helper()
	dst := netip.MustParseAddrPort(to)
	var src netip.AddrPort
	from.Do(func() {
		c, err := net.DialUDP("udp", &net.UDPAddr{Port: port}, net.UDPAddrFromAddrPort(dst))
		if err != nil {
			t.Fatal(err)
		}
		src = c.LocalAddr().(*net.UDPAddr).AddrPort()
		// What a closed port has answered is an error of the next write.
		if _, err := c.Write([]byte("question")); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return tuple(packet.ProtoUDP, src, dst)
}

func tuple(proto uint8, src, dst netip.AddrPort) packet.Tuple {
	f := packet.Tuple{Proto: proto, SrcPort: src.Port(), DstPort: dst.Port()}
	f.Src, f.Family = packet.AddrFrom(src.Addr().Unmap())
	f.Dst, _ = packet.AddrFrom(dst.Addr().Unmap())
	return f
}

// TestTranslate asks the kernel of a router that masquerades and forwards a port: about flows in both directions, in one set of
// questions, among others that it does not know.
func TestTranslate(t *testing.T) {
	nettest.Require(t)
	r := nettest.NewRouter(t)
	r.Rules(rules)
	var k *Kernel
	r.Do(func() {
		var err error
		if k, err = Open(); err != nil {
			t.Fatal(err)
		}
	})
	defer func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}()
	out := send(t, r.LAN, 40001, nettest.WANHost+":53")
	in := send(t, r.WAN, 40002, nettest.WANRouter+":8053")
	plain := send(t, r.LAN, 40003, nettest.DMZHost+":53")
	plain6 := send(t, r.LAN, 40004, "["+nettest.DMZHost6+"]:53")
	r.LAN.Run("ping", "-c", "1", "-e", "777", nettest.WANHost)
	echo := tuple(packet.ProtoICMP, netip.MustParseAddrPort(nettest.LANHost+":777"), netip.MustParseAddrPort(nettest.WANHost+":1"))
	unknown := out
	unknown.SrcPort++

	var questions []source.Question
	for _, f := range []packet.Tuple{out, unknown, in, plain, plain6, echo} {
		questions = append(questions, source.Question{Flow: f})
	}
	for range 100 { // more than one datagram of the kernel
		questions = append(questions, source.Question{Flow: unknown})
	}
	if err := k.Translate(questions); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		known               bool
		source, destination string
	}{
		{true, nettest.WANRouter + ":40001", ""}, {false, "", ""}, {true, "", nettest.DMZHost + ":53"}, {true, "", ""}, {true, "", ""},
		{true, nettest.WANRouter + ":777", ""},
	} {
		q := &questions[i]
		if q.Found != want.known {
			t.Errorf("question %d: found %v", i, q.Found)
			continue
		}
		if !q.Found {
			continue
		}
		nat := packet.TranslationOf(&q.Flow, &q.Reply)
		for _, end := range []struct {
			addr packet.Addr
			port uint16
			want string
		}{{nat.Src, nat.SrcPort, want.source}, {nat.Dst, nat.DstPort, want.destination}} {
			got := ""
			if end.addr != (packet.Addr{}) {
				got = netip.AddrPortFrom(end.addr.Netip(q.Flow.Family), end.port).String()
			}
			if got != end.want {
				t.Errorf("question %d: translated to %q, want %q", i, got, end.want)
			}
		}
	}
	if questions[105].Found {
		t.Error("an unknown flow was found")
	}
	// As it is seen by whoever takes the answer for the beginning.
	answer := []source.Question{{Flow: questions[0].Reply}}
	if err := k.Translate(answer); err != nil || !answer[0].Found || answer[0].Reply != out {
		t.Errorf("the other direction: %+v, %v", answer[0], err)
	}
}

// TestOption reads the values of the option.
func TestOption(t *testing.T) {
	for text, want := range map[string]bool{"none": false, "conntrack": true} {
		o := Option(!want)
		if err := o.UnmarshalText([]byte(text)); err != nil || bool(o) != want || (o.Translator() != nil) != want {
			t.Errorf("%s: %v, %v", text, o, err)
		}
	}
	if new(Option).UnmarshalText([]byte("yes")) == nil {
		t.Error("yes is no value")
	}
}

// TestNoCapability says what is missing.
func TestNoCapability(t *testing.T) {
	nettest.Require(t)
	h := nettest.NewHost(t)
	h.Do(func() {
		// The thread is this test's own: it ends with the goroutine.
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&hdr, &caps[0]); err != nil {
			t.Fatal(err)
		}
		all := caps
		caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&hdr, &caps[0]); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Capset(&hdr, &all[0]); err != nil {
				t.Error(err)
			}
		}()
		if k, err := Open(); !errors.Is(err, ErrCapability) {
			t.Errorf("opened %v, %v", k, err)
		}
	})
}
