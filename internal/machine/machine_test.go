package machine

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// tree makes a machine of files.
func tree(files map[string]string) *Machine {
	root := make(fstest.MapFS)
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return &Machine{Root: root}
}

const (
	first  = "         0          0 4294967295\n"
	status = "proc/thread-self/status"
)

// TestFindings looks at machines of all kinds.
func TestFindings(t *testing.T) {
	kernel := func(m *Machine, p *Part) { m.Kernel(p, 5, 9) }
	protocol := func(m *Machine, p *Part) { m.Protocol(p, "XDP", "AF_XDP") }
	permission := func(m *Machine, p *Part) { m.Permission(p, NetAdmin, BPF) }
	buffer := func(m *Machine, p *Part) { m.ReceiveBuffer(p, 1<<20) }
	module := func(m *Machine, p *Part) { m.NeedsModule(p, "nfnetlink_log", "nfulnl_recv_config", "NFLOG") }
	const release = "proc/sys/kernel/osrelease"
	for name, tt := range map[string]struct {
		files   map[string]string
		look    func(*Machine, *Part)
		verdict Verdict
		text    string // part of it
		command string
	}{
		"kernel":              {map[string]string{release: "5.9.0\n"}, kernel, OK, "Linux 5.9.0", ""},
		"newer kernel":        {map[string]string{release: "6.1-rc1\n"}, kernel, OK, "6.1-rc1", ""},
		"old kernel":          {map[string]string{release: "4.19.0-27-amd64\n"}, kernel, Missing, "5.9 or newer is needed", ""},
		"no kernel":           {nil, kernel, Unknown, "not known", "uname -r"},
		"odd kernel":          {map[string]string{release: "six"}, kernel, Unknown, "not known", "uname -r"},
		"sockets":             {map[string]string{"proc/thread-self/net/protocols": "protocol  size\nPACKET 1\nXDP 960\n"}, protocol, OK, "AF_XDP", ""},
		"no sockets":          {map[string]string{"proc/thread-self/net/protocols": "protocol  size\nXDPX 960\n"}, protocol, Missing, "built without", ""},
		"sockets not known":   {nil, protocol, Unknown, "not known", ""},
		"root":                {map[string]string{status: "CapEff:\t000001ffffffffff\n"}, permission, OK, "CAP_NET_ADMIN, CAP_BPF", ""},
		"sys_admin":           {map[string]string{status: "Name:\tx\nCapEff:\t0000000000201000\n"}, permission, OK, "CAP_BPF", ""},
		"net_raw only":        {map[string]string{status: "CapEff:\t0000000000002000\n"}, permission, Missing, "lacks CAP_NET_ADMIN, CAP_BPF", `setcap cap_net_admin,cap_bpf+ep "$(command -v pipelined)"`},
		"net_admin only":      {map[string]string{status: "CapEff:\t0000000000001000\n"}, permission, Missing, "lacks CAP_BPF (", `setcap cap_net_admin,cap_bpf+ep "$(command -v pipelined)"`},
		"no status":           {nil, permission, Unknown, "not known", "getpcaps $$"},
		"malformed status":    {map[string]string{status: "CapEff: all\n"}, permission, Unknown, "not known", "getpcaps $$"},
		"buffer of root":      {map[string]string{status: "CapEff:\t0000000000001000\n", "proc/self/uid_map": first}, buffer, OK, "CAP_NET_ADMIN sets it", ""},
		"small buffer":        {map[string]string{status: "CapEff:\t0\n", "proc/sys/net/core/rmem_max": "212992\n"}, buffer, Warning, "is 212992", "sysctl -w net.core.rmem_max=1048576"},
		"buffer of container": {map[string]string{status: "CapEff:\t1000\n", "proc/self/uid_map": "0 1000 1\n", "proc/sys/net/core/rmem_max": "212992\n"}, buffer, Warning, "is 212992", "sysctl -w net.core.rmem_max=1048576"},
		"large buffer":        {map[string]string{status: "CapEff:\t0\n", "proc/sys/net/core/rmem_max": "1048576\n"}, buffer, OK, "is 1048576", ""},
		"buffer not known":    {map[string]string{status: "CapEff:\t0\n"}, buffer, Unknown, "cannot be read", "sysctl net.core.rmem_max"},
		"loaded module":       {map[string]string{"sys/module/nfnetlink_log/refcnt": "0"}, module, OK, "is there", ""},
		"built in":            {map[string]string{"proc/kallsyms": "0 t nfulnl_recv_config_not\n0 t nfulnl_recv_config\n"}, module, OK, "is there", ""},
		"listed as built in":  {map[string]string{release: "6.1", "lib/modules/6.1/modules.dep": "", "lib/modules/6.1/modules.builtin": "kernel/net/netfilter/nfnetlink_log.ko\n"}, module, OK, "is there", ""},
		"can be loaded":       {map[string]string{release: "6.1", "lib/modules/6.1/modules.dep": "kernel/net/netfilter/nfnetlink_log.ko.zst: kernel/net/nfnetlink.ko.zst\n"}, module, OK, "is not loaded; the kernel loads it", ""},
		"no module":           {map[string]string{release: "6.1", "lib/modules/6.1/modules.dep": "kernel/net/netfilter/nfnetlink.ko: nfnetlink_log.ko\n"}, module, Missing, "package with the modules of Linux 6.1", ""},
		"module not known":    {map[string]string{release: "6.1", "proc/kallsyms": "0 t other\n"}, module, Unknown, "no list of modules", "modprobe nfnetlink_log"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Part{Name: "part"}
			tt.look(tree(tt.files), p)
			if len(p.Findings) != 1 {
				t.Fatalf("%d findings: %v", len(p.Findings), p.Findings)
			}
			got := p.Findings[0]
			if got.Part != "part" || got.Subject == "" || got.Verdict != tt.verdict || !strings.Contains(got.Text, tt.text) || got.Command != tt.command {
				t.Errorf("got %+v, want %s, %q, %q", got, tt.verdict, tt.text, tt.command)
			}
		})
	}
}

// TestLacks tells what a configuration needs from what could be.
func TestLacks(t *testing.T) {
	for needed, want := range map[bool]Verdict{false: Warning, true: Missing} {
		p := Part{Name: "a", Needed: needed}
		p.Lacks("b", "c", "d %d", 1)
		if want := []Finding{{Part: "a", Subject: "b", Verdict: want, Text: "d 1", Command: "c"}}; !slices.Equal(p.Findings, want) {
			t.Errorf("needed %v: %v, want %v", needed, p.Findings, want)
		}
	}
}

// TestJoinCapabilities gives two sources one command.
func TestJoinCapabilities(t *testing.T) {
	m := tree(map[string]string{status: "CapEff:\t0000008000000000\n"})
	p := new(Part)
	m.Permission(p, NetAdmin)
	m.Permission(p, BPF)
	m.Permission(p, NetRaw)
	JoinCapabilities(p.Findings)
	const both = `setcap cap_net_admin,cap_net_raw+ep "$(command -v pipelined)"`
	for i, want := range []string{both, "", both} {
		if got := p.Findings[i].Command; got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
}

// TestLockedMemory reads limits.
func TestLockedMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"Limit  Soft Limit Hard Limit Units\nMax locked memory         8388608              8388608              bytes\n": 8 << 20,
		"Max locked memory         unlimited            unlimited            bytes\n":                                     -1,
	} {
		if got, err := tree(map[string]string{"proc/self/limits": text}).LockedMemory(); got != want || err != nil {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "Max locked memory\n", "Max locked memory much\n"} {
		if got, err := tree(map[string]string{"proc/self/limits": text}).LockedMemory(); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// TestSettingsReadOnly looks at mounts, units of systemd and their drop-ins.
func TestSettingsReadOnly(t *testing.T) {
	const (
		mounts = "proc/self/mountinfo"
		unit   = "etc/systemd/system/pipelined.service"
		shared = "usr/lib/systemd/system/pipelined.service"
		dropIn = "etc/systemd/system/pipelined.service.d/more.conf"
		proc   = "22 1 0:21 / /proc rw,nosuid shared:1 - proc proc rw\n"
	)
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing known":       {nil, ""},
		"writable":            {map[string]string{mounts: proc, unit: "[Service]\nProtectKernelTunables=no\n"}, ""},
		"container":           {map[string]string{mounts: proc + "23 22 0:21 /sys /proc/sys ro,nosuid - proc proc rw\n"}, "/proc/sys is mounted read-only here"},
		"covered":             {map[string]string{mounts: proc + "23 22 0:21 /sys /proc/sys ro - proc proc rw\n24 23 0:21 /sys /proc/sys rw - proc proc rw\n"}, ""},
		"all of proc":         {map[string]string{mounts: "22 1 0:21 / /proc ro,nosuid shared:1 - proc proc rw\n"}, "/proc is mounted read-only here"},
		"unit":                {map[string]string{unit: "[Service]\nProtectKernelTunables=yes\n"}, "the unit has ProtectKernelTunables=yes (/" + unit + ")"},
		"unit of the package": {map[string]string{shared: "ProtectKernelTunables = true\n"}, "the unit has ProtectKernelTunables=true (/" + shared + ")"},
		"unit covered":        {map[string]string{shared: "ProtectKernelTunables=yes\n", unit: "[Service]\n"}, ""},
		"drop-in takes away":  {map[string]string{shared: "ProtectKernelTunables=yes\n", dropIn: "[Service]\nProtectKernelTunables=no\n"}, ""},
		"drop-in adds":        {map[string]string{shared: "", dropIn: "ProtectKernelTunables=1\n"}, "the unit has ProtectKernelTunables=1 (/" + dropIn + ")"},
		"malformed":           {map[string]string{mounts: "22\n\n /proc", unit: "=\nProtectKernelTunables\n"}, ""},
	} {
		if got := tree(tt.files).SettingsReadOnly(); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestThis compares what the files say with what system calls say.
func TestThis(t *testing.T) {
	m := This()
	called, err := Effective()
	if err != nil {
		t.Fatal(err)
	}
	if read, err := m.Capabilities(); err != nil || read != called {
		t.Errorf("read %x, %v, and called %x", read, err, called)
	}
	if m.Release() == "" {
		t.Error("no release of the kernel")
	}
	p := new(Part)
	if link := p.Link("lo"); link == nil || p.Findings[0].Subject != "link" {
		t.Errorf("lo: %v", p.Findings)
	}
	if link := p.Link("no\x1bne"); link != nil || p.Findings[1].Verdict != Missing {
		t.Errorf("no interface: %v", p.Findings)
	}
}

// TestShell quotes what a shell would take for more than a word.
func TestShell(t *testing.T) {
	for word, want := range map[string]string{"eth0.100": "eth0.100", "": "''", "a b": "'a b'", "it's;reboot": `'it'\''s;reboot'`, "é": "'é'"} {
		if got := Shell(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}
