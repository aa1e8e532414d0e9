package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/collectors"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

const besideConfig = `
[pipeline]
sources = ["live"]
sinks   = ["file"]
[zones]
lan.interfaces = ["lan0"]
wan.interfaces = ["wan0"]
[admission]
rate = 0
[sources]
live = { SOURCE }
[sinks]
file = { plugin = "file", path = "DIR/events.log" }
[service]
metrics = "127.0.0.1:9464"
drain   = "30s"
`

// ulogdConfig is that of Debian for conntrack, but for events that are not held until the session ends.
const ulogdConfig = `
[global]
logfile="DIR/ulogd.log"
loglevel=5
plugin="PLUGINS/ulogd_inpflow_NFCT.so"
plugin="PLUGINS/ulogd_filter_IP2STR.so"
plugin="PLUGINS/ulogd_filter_PRINTFLOW.so"
plugin="PLUGINS/ulogd_output_LOGEMU.so"
stack=in:NFCT,ip2str1:IP2STR,print1:PRINTFLOW,out:LOGEMU
[in]
hash_enable=0
event_mask=1
[out]
file="DIR/lines"
`

// BenchmarkBesideConntrack makes sessions, with an answer each, and lets three programs read what the kernel tells of them and write it
// to a file: pipelined reads beginning, answer and end, and writes two records; conntrack(8) beginning and answer, two lines; and ulogd
// the beginning, one line. It reports the CPU time of each per event that it has read. The two others do not read the ends: conntrack(8)
// looks through all processes for who has deleted the session, and neither has room for a table that is emptied at once, since they get
// no larger buffer than the kernel's default when they start, whatever they are told.
func BenchmarkBesideConntrack(b *testing.B) {
	r := benchRouter(b, trackedRules)
	g := newGenerator(b, r)
	d := startWith(&network{t: b, tap: r.Host}, strings.Replace(besideConfig, "SOURCE", `plugin = "conntrack"`, 1), "")

	before := subscribers(b, r.Host)
	out, err := os.Create(filepath.Join(b.TempDir(), "lines"))
	if err != nil {
		b.Fatal(err)
	}
	conntrack := exec.Command("conntrack", "--event", "--event-mask", "NEW,UPDATES")
	conntrack.Stdout = out
	r.Start(conntrack)
	ulogd := collectors.Ulogd(b, ulogdConfig)
	r.Do(func() { ulogd.Start() })
	eventually(b, "the others listen", func() bool { return subscribers(b, r.Host) >= before+2 })

	programs := map[string]int{"pipelined": d.cmd.Process.Pid, "conntrack": conntrack.Process.Pid, "ulogd": ulogd.Pid()}
	events := map[string]int{"pipelined": 3, "conntrack": 2, "ulogd": 1}
	measure := watch(b, programs)
	for i := range b.N {
		g.open(true)
		if i%16 == 15 {
			g.awaitOthers(64 << 10)
		}
		if i%4096 == 4095 {
			g.await(0)
			g.flush()
		}
	}
	g.flush()
	g.await(0)
	closes := func() int { return count(d.events(), "RT_FLOW_SESSION_CLOSE", loadClient) }
	eventually(b, "the daemon has told of every session", func() bool { return closes() >= b.N })
	measure(events)
	lines := readFile(b, out.Name())
	if n := count(lines, "[NEW]", loadClient); n != b.N {
		b.Fatalf("conntrack(8) has told of %d of %d sessions", n, b.N)
	}
	if err := syscall.Kill(ulogd.Pid(), syscall.SIGTERM); err != nil { // it keeps its last lines until then
		b.Fatal(err)
	}
	eventually(b, "ulogd has told of every session", func() bool { return count(strings.Join(ulogd.Lines("lines"), "\n"), loadClient) == b.N })
	d.stop()
	if n := count(d.events(), "RT_FLOW_SESSION_CREATE", loadClient); n != b.N || closes() != b.N {
		b.Fatalf("%d records of the beginning, %d of the end, of %d sessions", n, closes(), b.N)
	}
}

// BenchmarkConntrackRate makes sessions as fast as the kernel forwards their packets, with an answer each and without, while the daemon
// writes two records of each to a file. It reports how many there were a second, and the daemon's CPU time per event: beginning,
// answer and end. It fails if anything is lost.
func BenchmarkConntrackRate(b *testing.B) {
	config := strings.Replace(besideConfig, "SOURCE", `plugin = "conntrack", buffer = "64MiB"`, 1)
	const table, halfFull = 1 << 15, 32 << 20 // sessions whose ends fit into the buffer at once, and bytes in it
	for _, answered := range []bool{true, false} {
		b.Run(fmt.Sprintf("answered=%v", answered), func(b *testing.B) {
			r := benchRouter(b, trackedRules)
			g := newGenerator(b, r)
			d := startWith(&network{t: b, tap: r.Host}, config, "")
			measure := watch(b, map[string]int{"pipelined": d.cmd.Process.Pid})
			for i := range b.N {
				g.open(answered)
				if i%256 == 255 {
					g.await(halfFull)
				}
				if i%table == table-1 {
					g.flush()
				}
			}
			g.flush()
			g.await(0)
			ends := func() uint64 { return d.status().Ledger.Events["session-close"].Offered }
			eventually(b, "the daemon has told of every session", func() bool { return ends() >= uint64(b.N) })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
			events := 2
			if answered {
				events = 3
			}
			measure(map[string]int{"pipelined": events})
			if n := d.status().Ledger.Unread; n != 0 {
				b.Fatalf("%d events were lost", n)
			}
			d.stop()
		})
	}
}

func benchRouter(b *testing.B, rules string) *nettest.Router {
	b.Helper()
	r := nettest.NewRouter(b)
	r.Set("netfilter/nf_conntrack_acct", "1")
	r.Rules(rules)
	return r
}

// watch resets the timer and returns a function that stops it and reports the CPU time that processes have used per event, of which
// there are so many in each operation.
func watch(b *testing.B, programs map[string]int) (measure func(events map[string]int)) {
	b.Helper()
	before := make(map[string]time.Duration)
	for name, pid := range programs {
		before[name] = processCPU(b, pid)
	}
	b.ResetTimer()
	return func(events map[string]int) {
		b.StopTimer()
		for name, pid := range programs {
			used := processCPU(b, pid) - before[name]
			b.ReportMetric(float64(used.Nanoseconds())/float64(events[name]*b.N), name+"-cpu-ns/event")
		}
	}
}

// processCPU returns the CPU time, user and system, that the threads of a process have used.
func processCPU(tb testing.TB, pid int) (sum time.Duration) {
	tb.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	if err != nil || len(files) == 0 {
		tb.Fatalf("process %d: %d threads, %v", pid, len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}
