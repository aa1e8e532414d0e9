package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/collectors"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// BenchmarkNFLOGFile has the program write a line for each packet that a rule logs into a file, in a process of its own, and
// reports its CPU time.
func BenchmarkNFLOGFile(b *testing.B) {
	host := loggingHost(b)
	dir := b.TempDir()
	program, out := filepath.Join(dir, "pipelined"), filepath.Join(dir, "out")
	if text, err := exec.Command("go", "build", "-o", program, "github.com/rtflow/pipelined/cmd/pipelined").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	config := filepath.Join(dir, "pipeline.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
[service]
metrics = ""
[admission]
rate = 0
[replay]
slots = 65536
[zones.trust]
prefixes = ["127.0.0.0/8"]
[sources.fw]
plugin = "nflog"
groups = [5]
[sinks.out]
plugin = "file"
path = %q
[pipeline]
sources = ["fw"]
sinks = ["out"]
`, out), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program, "run", "--config", config)
	log := new(bytes.Buffer)
	cmd.Stderr = log
	host.Start(cmd)
	b.Cleanup(func() {
		if b.Failed() {
			b.Log(log)
		}
	})
	measureLog(b, host, out, func() time.Duration { return collectors.CPU(b, cmd.Process.Pid) })
}

// BenchmarkUlogdNFLOG is the same by ulogd.
func BenchmarkUlogdNFLOG(b *testing.B) {
	host := loggingHost(b)
	daemon := collectors.Ulogd(b, `
[global]
logfile="DIR/log"
plugin="PLUGINS/ulogd_inppkt_NFLOG.so"
plugin="PLUGINS/ulogd_raw2packet_BASE.so"
plugin="PLUGINS/ulogd_filter_IFINDEX.so"
plugin="PLUGINS/ulogd_filter_IP2STR.so"
plugin="PLUGINS/ulogd_filter_PRINTPKT.so"
plugin="PLUGINS/ulogd_output_LOGEMU.so"
stack=log:NFLOG,base:BASE,ifi:IFINDEX,ip2str:IP2STR,print:PRINTPKT,emu:LOGEMU
[log]
group=5
netlink_socket_buffer_size=8388608
netlink_socket_buffer_maxsize=16777216
[emu]
file="DIR/out"
sync=0
`)
	host.Do(func() { daemon.Start() })
	measureLog(b, host, daemon.Path("out"), daemon.CPU)
}

// loggingHost returns a host on which packets to port 9 are logged and dropped.
func loggingHost(b *testing.B) *nettest.Host {
	b.Helper()
	nettest.Require(b)
	host := nettest.NewHost(b)
	host.Run("nft", `table inet f { chain out { type filter hook output priority 0; udp dport 9 log prefix "DROP:fwd-default " group 5 drop; }; }`)
	return host
}

// measureLog sends packets that a rule logs, in bursts that fit into every buffer, and waits for each to be in a file, but for
// what its writer may keep in its own buffer.
func measureLog(b *testing.B, host *nettest.Host, path string, cpu func() time.Duration) {
	b.Helper()
	const (
		burst = 1000
		kept  = 100 // lines
	)
	var c net.Conn
	var err error
	host.Do(func() { c, err = net.Dial("udp", "127.0.0.1:9") })
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	lines := &lineCounter{path: path}
	defer lines.close()
	send := func(n int) {
		for range n {
			if _, err := c.Write([]byte("payload")); err != nil && !errors.Is(err, unix.EPERM) {
				b.Fatal(err)
			}
		}
	}
	await.Until(b, "the group is bound", func() bool {
		return strings.HasPrefix(strings.TrimSpace(host.Run("cat", "/proc/thread-self/net/netfilter/nfnetlink_log")), "5 ")
	})
	before := cpu()
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += burst {
		send(min(burst, b.N-sent))
		await.Until(b, "the packets are in the file", func() bool { return lines.count(b)+kept >= min(sent+burst, b.N) })
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/msg")
}

// lineCounter counts the lines of a file that grows.
type lineCounter struct {
	path  string
	file  *os.File
	lines int
}

func (l *lineCounter) count(b *testing.B) int {
	b.Helper()
	if l.file == nil {
		f, err := os.Open(l.path)
		if errors.Is(err, os.ErrNotExist) {
			return 0
		}
		if err != nil {
			b.Fatal(err)
		}
		l.file = f
	}
	more, err := io.ReadAll(l.file)
	if err != nil {
		b.Fatal(err)
	}
	l.lines += bytes.Count(more, []byte{'\n'})
	return l.lines
}

func (l *lineCounter) close() {
	if l.file != nil {
		_ = l.file.Close() // read only
	}
}
