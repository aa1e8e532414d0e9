package xdp

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/xsk"
)

// tryOpen opens an interface of h and closes it again.
func tryOpen(h *nettest.Host, name string, take bool) (err error) {
	h.Do(func() {
		var s *Source
		if s, err = Open(Config{Device: xsk.Config{Interface: name, Frames: 256}, TakeTraffic: take}); err == nil {
			err = s.Close()
		}
	})
	return err
}

// TestInUse gives an interface one use after the other: it is refused for that use alone, and opened where that is meant.
func TestInUse(t *testing.T) {
	for _, c := range []struct {
		name, tap string
		setUp     func(t *testing.T, h *nettest.Host)
		want      string // "": not in use
	}{
		{"a port that only listens", "tap", func(*testing.T, *nettest.Host) {}, ""},
		{"IPv6 link-local", "tap", func(t *testing.T, h *nettest.Host) { h.Address("tap", "fe80::1/64") }, ""},
		{"address", "tap", func(t *testing.T, h *nettest.Host) { h.Address("tap", "192.0.2.1/24") }, "it has the address 192.0.2.1/24"},
		{"IPv6 address", "tap", func(t *testing.T, h *nettest.Host) { h.Address("tap", "2001:db8::1/64") }, "it has the address 2001:db8::1/64"},
		{"default route", "tap", func(t *testing.T, h *nettest.Host) { h.Run("ip", "route", "add", "default", "dev", "tap") }, "it is where the default route leads"},
		{"several default routes", "tap", func(t *testing.T, h *nettest.Host) {
			nettest.Cable(nettest.NewHost(t), "wire", h, "other", 1)
			h.Run("ip", "route", "add", "default", "nexthop", "dev", "tap", "nexthop", "dev", "other")
		}, "it is where the default route leads"},
		{"forwarding", "tap", func(t *testing.T, h *nettest.Host) { h.Run("sysctl", "-w", "net.ipv4.conf.tap.forwarding=1") }, "it forwards IPv4 (net.ipv4.conf.tap.forwarding)"},
		{"port of a bridge", "tap", func(t *testing.T, h *nettest.Host) {
			h.Run("ip", "link", "add", "br0", "type", "bridge")
			h.Run("ip", "link", "set", "tap", "master", "br0")
		}, "it is a port of br0 (bridge)"},
		{"bridge", "br0", func(t *testing.T, h *nettest.Host) {
			h.Run("ip", "link", "add", "br0", "type", "bridge")
			h.Run("ip", "link", "set", "br0", "up")
		}, "it is a bridge"},
		{"loopback", "lo", func(*testing.T, *nettest.Host) {}, "it is the loopback interface"},
		{"address on a VLAN", "tap", func(t *testing.T, h *nettest.Host) {
			stacked(t, h, "tap.7", "vlan", "id", "7")
			h.Address("tap.7", "192.0.2.1/24")
		}, "tap.7, which is on top of it, has the address 192.0.2.1/24"},
		{"VLAN that only listens", "tap", func(t *testing.T, h *nettest.Host) {
			stacked(t, h, "tap.7", "vlan", "id", "7")
		}, ""},
		{"address on a macvlan", "tap", func(t *testing.T, h *nettest.Host) {
			stacked(t, h, "m0", "macvlan")
			h.Address("m0", "192.0.2.1/24")
		}, "m0, which is on top of it, has the address 192.0.2.1/24"},
		{"tunnel", "vx", func(t *testing.T, h *nettest.Host) {
			h.Run("ip", "link", "add", "vx", "type", "vxlan", "id", "7", "dstport", "4789", "dev", "tap")
			h.Run("ip", "link", "set", "vx", "up")
		}, "it is the end of a tunnel (vxlan)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, h := cable(t, 1)
			c.setUp(t, h)
			err := tryOpen(h, c.tap, false)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			inUse, ok := errors.AsType[*InUseError](err)
			if !ok || len(inUse.Uses) != 1 || !strings.HasPrefix(inUse.Uses[0], c.want) {
				t.Fatalf("got %v, want one use: %s", err, c.want)
			}
			if text := err.Error(); !strings.Contains(text, "take_traffic = true") || !strings.Contains(text, "mirror port") {
				t.Errorf("the error does not say what to do: %s", text)
			}
			if err := tryOpen(h, c.tap, true); err != nil {
				t.Errorf("with TakeTraffic: %v", err)
			}
		})
	}
}

// stacked makes a link on top of the interface "tap". The test is skipped if the kernel has no links of that type.
func stacked(t *testing.T, h *nettest.Host, name, kind string, options ...string) {
	t.Helper()
	args := append([]string{"link", "add", "link", "tap", "name", name, "type", kind}, options...)
	var out []byte
	var err error
	h.Do(func() { out, err = exec.Command("ip", args...).CombinedOutput() })
	if strings.Contains(string(out), "Unknown device type") {
		t.Skipf("the kernel has no %s", kind)
	}
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// TestNotEthernet refuses an interface whose frames have no Ethernet header, whatever the configuration says.
func TestNotEthernet(t *testing.T) {
	_, h := cable(t, 1)
	h.Run("ip", "tuntap", "add", "mode", "tun", "name", "tun0")
	h.Run("ip", "link", "set", "tun0", "up")
	for _, take := range []bool{false, true} {
		if err := tryOpen(h, "tun0", take); !errors.Is(err, ErrNotEthernet) || !strings.Contains(err.Error(), "tun0") {
			t.Errorf("take_traffic = %v: %v", take, err)
		}
	}
}

// TestInUseComesBack checks that an interface that has been deleted is not taken again when its successor is in use.
func TestInUseComesBack(t *testing.T) {
	sender, h := cable(t, 1)
	warn, wait := conditions(t)
	s := open(t, h, Config{Warn: warn})
	h.Delete("tap")
	wait(s, "waiting", func(st State) bool { return st.Condition == Waiting })
	h.Run("ip", "link", "add", "tap", "type", "bridge")
	wait(s, "refused", func(st State) bool { return strings.Contains(st.Error, "it is a bridge") })
	h.Delete("tap")
	nettest.Cable(sender, "wire", h, "tap", 1)
	wait(s, "up", func(st State) bool { return st.Condition == Up })
}
