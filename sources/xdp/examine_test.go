package xdp

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/xsk"
)

// TestExamineMachine changes one thing of a machine at a time, and looks for the finding that is not ok.
func TestExamineMachine(t *testing.T) {
	const (
		limits   = "proc/self/limits"
		compiler = "proc/sys/net/core/bpf_jit_enable"
	)
	for name, tt := range map[string]struct {
		path, value   string
		config        Config
		subject       string // "" if all is ok
		verdict       machine.Verdict
		text, command string
	}{
		"all right":      {},
		"exactly enough": {path: limits, value: "Max locked memory 8388608 8388608 bytes\n"},
		"too little": {path: limits, value: "Max locked memory 8388607 8388607 bytes\n", subject: "locked memory", verdict: machine.Missing,
			text: "packet buffers take 8192 KiB: 1 queues of 4096 frames", command: "ulimit -l unlimited"},
		"limit not known":  {path: limits, subject: "locked memory", verdict: machine.Unknown, text: "8192 KiB are needed", command: "ulimit -l"},
		"interpreter":      {path: compiler, value: "0\n", subject: "BPF compiler", verdict: machine.Warning, text: "slow", command: "sysctl -w net.core.bpf_jit_enable=1"},
		"another compiler": {path: compiler, value: "x\n", subject: "BPF compiler", verdict: machine.Unknown, text: "cannot be read", command: "sysctl net.core.bpf_jit_enable"},
		"old kernel":       {path: "proc/sys/kernel/osrelease", value: "5.4.0\n", subject: "kernel", verdict: machine.Missing, text: "5.18 or newer"},
		"no sockets":       {path: "proc/thread-self/net/protocols", value: "UDP\n", subject: "sockets", verdict: machine.Missing, text: "CONFIG_XDP_SOCKETS"},
		"no offload": {config: Config{Flows: 100}, subject: "offload", verdict: machine.Warning, text: "lacks CAP_PERFMON, and without it no session is offloaded",
			command: `setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep "$(command -v pipelined)"`},
		"offload": {path: "proc/thread-self/status", value: "CapEff:\t000000c000003000\n", config: Config{Flows: 100}},
		"root":    {path: "proc/thread-self/status", value: "CapEff:\t0000000000203000\n", config: Config{Flows: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			root := make(fstest.MapFS)
			for path, text := range map[string]string{
				limits: "Max locked memory unlimited unlimited bytes\n", compiler: "1\n", "proc/sys/kernel/osrelease": "6.1.0\n",
				"proc/thread-self/net/protocols": "XDP\n", "proc/thread-self/status": "CapEff:\t0000008000003000\n",
			} {
				if path == tt.path {
					text = tt.value
				}
				root[path] = &fstest.MapFile{Data: []byte(text)}
			}
			found := false
			for _, f := range examineMachine(&machine.Machine{Root: root}, tt.config, nil, true) {
				if f.Verdict == machine.OK {
					continue
				}
				if found || f.Subject != tt.subject || f.Verdict != tt.verdict || !strings.Contains(f.Text, tt.text) || f.Command != tt.command {
					t.Errorf("got %+v", f)
				}
				found = true
			}
			if found != (tt.subject != "") {
				t.Errorf("want a finding about %q", tt.subject)
			}
		})
	}
}

// TestExamineInterface looks at interfaces of a namespace: one that only listens, one that the host needs, one that is down, one that
// is not there.
func TestExamineInterface(t *testing.T) {
	nettest.Require(t)
	a, b := nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(a, "mirror0", b, "eth0", 1)
	nettest.Cable(a, "lan0", b, "eth1", 1)
	a.Address("lan0", "10.77.1.1/24")
	nettest.Cable(a, "off0", b, "eth2", 1)
	a.SetDown("off0")
	for _, tt := range []struct {
		name         string
		take, needed bool
		subject      string
		verdict      machine.Verdict
		text         string
	}{
		{"mirror0", false, true, "use", machine.OK, "does not need"},
		{"mirror0", false, true, "link", machine.OK, "veth, up"},
		{"lan0", false, true, "use", machine.Missing, "it has the address 10.77.1.1/24"},
		{"lan0", false, false, "use", machine.Warning, "afpacket takes none"},
		{"lan0", true, true, "use", machine.OK, "take_traffic"},
		{"off0", false, true, "link", machine.Warning, "it is down"},
		{"none0", false, true, "link", machine.Missing, `no interface "none0"`},
	} {
		a.Do(func() {
			found := false
			for _, f := range examine(machine.This(), Config{Device: xsk.Config{Interface: tt.name}, TakeTraffic: tt.take}, tt.needed) {
				if f.Part == "interface "+tt.name && f.Subject == tt.subject {
					found = true
					if f.Verdict != tt.verdict || !strings.Contains(f.Text, tt.text) {
						t.Errorf("got %+v, want %s, %q", f, tt.verdict, tt.text)
					}
				}
			}
			if !found {
				t.Errorf("nothing about %s of %s", tt.subject, tt.name)
			}
		})
	}
}
