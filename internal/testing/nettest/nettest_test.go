package nettest

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Three hosts in a row: addresses, routes and forwarding work, over IPv4 and IPv6, and only inside.
func TestNetwork(t *testing.T) {
	Require(t)
	left, middle, right := NewHost(t), NewHost(t), NewHost(t)
	Cable(left, "eth0", middle, "left", 1)
	Cable(middle, "right", right, "eth0", 1)
	for _, a := range []struct {
		host                       *Host
		name, v4, v6               string
		prefix, prefix6, via, via6 string
	}{
		{left, "eth0", "192.0.2.1/24", "2001:db8:1::1/64", "198.51.100.0/24", "2001:db8:2::/64", "192.0.2.2", "2001:db8:1::2"},
		{middle, "left", "192.0.2.2/24", "2001:db8:1::2/64", "", "", "", ""},
		{middle, "right", "198.51.100.2/24", "2001:db8:2::2/64", "", "", "", ""},
		{right, "eth0", "198.51.100.1/24", "2001:db8:2::1/64", "192.0.2.0/24", "2001:db8:1::/64", "198.51.100.2", "2001:db8:2::2"},
	} {
		a.host.Address(a.name, a.v4)
		a.host.Address(a.name, a.v6)
		if a.prefix != "" {
			a.host.Route(a.prefix, a.via)
			a.host.Route(a.prefix6, a.via6)
		}
	}
	middle.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

	for _, address := range []string{"198.51.100.1:7", "[2001:db8:2::1]:7"} {
		var server net.PacketConn
		var client net.Conn
		var err error
		right.Do(func() { server, err = net.ListenPacket("udp", address) })
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		left.Do(func() { client, err = net.Dial("udp", address) })
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := server.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 16)
		if n, _, err := server.ReadFrom(buffer); err != nil || string(buffer[:n]) != "hello" {
			t.Errorf("%s: got %q, %v", address, buffer[:n], err)
		}
	}
}

func TestDoReturnsHome(t *testing.T) {
	Require(t)
	h := NewHost(t)
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	h.Do(func() {
		inside, err := netns.Get()
		if err != nil {
			t.Fatal(err)
		}
		defer inside.Close()
		if inside.Equal(before) || !inside.Equal(h.ns) {
			t.Error("not in the namespace of the host")
		}
	})
	after, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if !after.Equal(before) {
		t.Error("not back home")
	}
}

// A command runs in the namespace, and one that is left running is ended.
func TestCommands(t *testing.T) {
	Require(t)
	var left *exec.Cmd
	t.Run("inner", func(t *testing.T) {
		a, b := NewHost(t), NewHost(t)
		Cable(a, "eth0", b, "eth0", 2)
		if out := a.Run("ip", "-br", "link", "show", "eth0"); out == "" {
			t.Error("the command does not see the interface")
		}
		left = exec.Command("sleep", "1000")
		b.Start(left)
	})
	if left.ProcessState == nil {
		t.Error("the command still runs")
	}
}

func TestWireIsQuiet(t *testing.T) {
	Require(t)
	a, b := NewHost(t), NewHost(t)
	Cable(a, "eth0", b, "eth0", 1)
	from, to := a.Wire("eth0"), b.Wire("eth0")
	frame := UDP{}.Frame([]byte("payload that is not too short"))
	from.Send(frame)
	if got := to.Receive(5000); string(got) != string(frame) {
		t.Errorf("received %x, sent %x", got, frame)
	}
	if got := to.Receive(50); got != nil {
		t.Errorf("nobody sent %x", got)
	}
}

func TestFrames(t *testing.T) {
	v4 := UDP{VLANs: []uint16{5}, SourcePort: 1, DestinationPort: 2}.Frame([]byte{0xaa})
	if len(v4) != 14+4+20+8+1 || !slices.Equal(v4[12:18], []byte{0x81, 0, 0, 5, 8, 0}) {
		t.Errorf("%x", v4)
	}
	var sum uint32
	for i := 18; i < 38; i += 2 {
		sum += uint32(v4[i])<<8 | uint32(v4[i+1])
	}
	if uint16(sum+sum>>16) != 0xffff {
		t.Errorf("the checksum of the header is wrong: %x", sum)
	}
	six := UDP{Source: netip.MustParseAddr("::1"), Dest: netip.MustParseAddr("::2"), VLANs: []uint16{1, 2}}
	v6 := six.Frame(nil)
	if len(v6) != 14+8+40+8 || !slices.Equal(v6[12:22], []byte{0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x86, 0xdd}) {
		t.Errorf("%x", v6)
	}
}

func TestFlood(t *testing.T) {
	Require(t)
	a, b := NewHost(t), NewHost(t)
	Cable(a, "eth0", b, "eth0", 1)
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.XDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
	})
	if err != nil {
		t.Fatal(err)
	}
	defer pass.Close()
	b.Do(func() {
		l, err := link.AttachXDP(link.XDPOptions{
			Program: pass, Interface: b.Link("eth0").Attrs().Index, Flags: link.XDPDriverMode,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	})
	wire := b.Wire("eth0")
	sent, err := a.Flood(t.Context(), Flood{Device: "eth0", Count: 100, Flows: 4})
	if err != nil || sent < 100 {
		t.Fatalf("sent %d, %v", sent, err)
	}
	for n := range 100 {
		frame := wire.Receive(5000)
		if frame == nil {
			t.Fatalf("no frame %d", n)
		}
		if int(frame[42]) != n || frame[34] != 0 || int(frame[35]) != n%4 {
			t.Fatalf("frame %d: %x", n, frame)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if sent, err := a.Flood(ctx, Flood{Device: "eth0"}); err != nil || sent != 0 {
		t.Errorf("cancelled: sent %d, %v", sent, err)
	}
	for _, bad := range []Flood{{Device: "nowhere"}, {Device: "eth0", Flows: 3}, {Device: "eth0", Frame: make([]byte, 20)}} {
		if _, err := a.Flood(t.Context(), bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
