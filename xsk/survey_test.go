package xsk

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// TestSymmetric looks at keys and transformations of the Toeplitz hash.
func TestSymmetric(t *testing.T) {
	repeated := bytes.Repeat([]byte{0x6d, 0x5a}, 20)
	other := bytes.Clone(repeated)
	other[39] = 0
	for _, tt := range []struct {
		transformation uint8
		key            []byte
		want           bool
	}{{0, repeated, true}, {0, other, false}, {1, other, true}, {2, other, true}, {0, nil, false}, {0, []byte{1, 2}, false}} {
		if got := isSymmetric(tt.transformation, tt.key); got != tt.want {
			t.Errorf("%d, %x: %v", tt.transformation, tt.key, got)
		}
	}
}

// report surveys an interface and returns the finding about each subject.
func report(t *testing.T, name string, c Config) map[string]machine.Finding {
	t.Helper()
	found, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Survey(found)
	if err != nil {
		t.Fatal(err)
	}
	p := machine.LinkPart(name, true)
	s.Report(p, c)
	about := make(map[string]machine.Finding)
	for _, f := range p.Findings {
		if _, twice := about[f.Subject]; twice {
			t.Errorf("two findings about %s", f.Subject)
		}
		about[f.Subject] = f
	}
	return about
}

// expect compares a finding.
func expect(t *testing.T, about map[string]machine.Finding, subject string, v machine.Verdict, text, command string) {
	t.Helper()
	if f := about[subject]; f.Verdict != v || !strings.Contains(f.Text, text) || f.Command != command {
		t.Errorf("%s: got %+v, want %s, %q, %q", subject, f, v, text, command)
	}
}

// TestSurvey looks at a veth as it is changed: its MTU, its offloads, our program and somebody else's.
func TestSurvey(t *testing.T) {
	nettest.Require(t)
	a, b := nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(a, "mirror0", b, "eth0", 2)
	a.Do(func() {
		about := report(t, "mirror0", Config{})
		expect(t, about, "XDP program", machine.OK, "none", "")
		if _, err := netlink.GenlFamilyGet("netdev"); err == nil { // of Linux 6.3 and newer
			expect(t, about, "driver", machine.OK, "veth has native XDP", "")
		} else {
			expect(t, about, "driver", machine.Unknown, "Linux 6.3 or newer tells it", "")
		}
		expect(t, about, "queues", machine.Unknown, "2, and whether both directions", "ethtool -x mirror0")
		expect(t, about, "MTU", machine.OK, "1500; AF_XDP buffers of 2048 bytes hold packets of an MTU up to 1770", "")
		about = report(t, "mirror0", Config{FrameSize: 4096, Attach: Generic})
		expect(t, about, "driver", machine.OK, "generic mode is configured", "")
		expect(t, about, "MTU", machine.OK, "of 4096 bytes hold packets of an MTU up to 3818", "")
	})
	a.SetMTU("mirror0", 9000)
	a.Do(func() {
		about := report(t, "mirror0", Config{})
		expect(t, about, "MTU", machine.OK, "9000; packets take several AF_XDP buffers of 4096 bytes", "")
		found, err := netlink.LinkByName("mirror0")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Survey(found)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			config        Config
			text, command string
		}{
			{Config{}, "it is 9000, and AF_XDP buffers of 4096 bytes hold packets of an MTU up to 3818; Linux 6.6", "ip link set dev mirror0 mtu 3818"},
			{Config{FrameSize: 2048}, "up to 1770", "ip link set dev mirror0 mtu 1770"},
		} {
			p := &machine.Part{Needed: true}
			s.reportMTU(p, c.config, Native, false) // as on an older kernel
			if f := p.Findings[0]; f.Verdict != machine.Missing || !strings.Contains(f.Text, c.text) || f.Command != c.command {
				t.Errorf("%+v", f)
			}
		}
		s.features = xdpBasic | xdpRedirect
		p := &machine.Part{Needed: true}
		if s.reportMTU(p, Config{}, Native, true); p.Findings[0].Verdict != machine.Warning || p.Findings[0].Command != "ip link set dev mirror0 mtu 3818" {
			t.Errorf("%+v", p.Findings)
		}
	})
	a.SetMTU("mirror0", 1500)
	a.Do(func() {
		opened, err := Open(t.Context(), Config{Interface: "mirror0"})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, report(t, "mirror0", Config{}), "XDP program", machine.OK, "is one of pipelined", "")
		if err := opened.Close(); err != nil {
			t.Fatal(err)
		}
		expect(t, report(t, "mirror0", Config{}), "XDP program", machine.OK, "none", "")
	})
	a.Do(func() {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: "other", Type: ebpf.XDP, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
		})
		if err != nil {
			t.Fatal(err)
		}
		defer program.Close()
		other, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: a.Link("mirror0").Attrs().Index, Flags: link.XDPGenericMode})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		info, err := program.Info()
		if err != nil {
			t.Fatal(err)
		}
		id, _ := info.ID()
		expect(t, report(t, "mirror0", Config{}), "XDP program", machine.Missing, "another XDP program is attached", fmt.Sprintf("bpftool prog show id %d", id))
	})
}
