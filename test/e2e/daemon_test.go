package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/internal/testing/logbuffer"
)

// program is the command under test, built by TestMain.
var program string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pipelined-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for a daemon that is not root
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// The daemons' sockets are nobody else's: tests of another package may run a daemon at the same time.
	if err := os.Setenv("RUNTIME_DIRECTORY", dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(dir, "pipelined")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/pipelined").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// daemon is a running pipelined on the tap.
type daemon struct {
	t      testing.TB
	net    *network
	dir    string
	cmd    *exec.Cmd
	stderr logbuffer.Buffer
	notify *net.UnixConn
	states chan string
	once   sync.Once
	exit   error
	read   []record // of the sink "json"
	readTo int64    // of its file
}

const config = `
[node]
name = "tap-1"
[pipeline]
sources = ["tap"]
hooks   = ["screens", "edge", "policies"]
sinks   = ["events", "json"]
[zones.inside]
prefixes = ["10.9.1.0/24", "fd00:9:1::/48"]
[zones.servers]
prefixes = ["10.9.2.0/24", "fd00:9:2::/48"]
[zones.outside]
prefixes = ["10.9.3.0/24", "fd00:9:3::/48"]
[sources.tap]
plugin    = "xdp"
interface = "tap0"
frames    = 1024
take_traffic = true # the tap has an address, so that packets can be routed to it
[hooks.screens]
plugin = "screendrop"
zones  = ["outside"]
[hooks.screens.tcp]
port-scan = { threshold = "1s" }
syn-fin   = true
[hooks.screens.udp]
flood = { threshold = 100 }
[hooks.edge]
plugin = "filterlog"
attach = { input = ["tap0"] }
[[hooks.edge.term]]
name = "telnet"
from = { protocol = "tcp", destination-port = "telnet" }
then = ["log", "discard"]
[[hooks.edge.term]]
name = "rest"
then = "accept"
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name = "in-to-servers"
from = "inside"
to   = "servers"
then = "permit"
[[hooks.policies.policy]]
name        = "web"
from        = "outside"
to          = "servers"
application = "junos-http"
then        = "permit"
[sessions]
icmp_timeout = "2s"
udp_timeout  = "2s"
[sinks.events]
plugin = "file"
path   = "DIR/events.log"
[sinks.json]
plugin = "file"
path   = "JSON/events.json"
format = "json"
sync   = "interval"
[service]
metrics = "127.0.0.1:9464"
drain   = "5s"
`

// start runs the daemon in the tap's namespace and waits until it says it is ready. jsonDir is where its second sink
// writes, "" for beside the first. wrapper is a command to run it under.
func start(n *network, jsonDir string, wrapper ...string) *daemon {
	n.t.Helper()
	return startWith(n, config, jsonDir, wrapper...)
}

// startWith is start with another configuration.
func startWith(n *network, config, jsonDir string, wrapper ...string) *daemon {
	n.t.Helper()
	d := &daemon{t: n.t, net: n, dir: n.t.TempDir(), states: make(chan string, 256)}
	if jsonDir == "" {
		jsonDir = d.dir
	}
	path := filepath.Join(d.dir, "pipeline.toml")
	n.must(os.Chmod(filepath.Dir(d.dir), 0o755)) // for a daemon that is not root
	n.must(os.Chmod(d.dir, 0o755))
	if slices.Contains(wrapper, "--reuid=65534") {
		n.must(os.Chown(d.dir, 65534, 65534))
	}
	text := strings.NewReplacer("DIR/", d.dir+"/", "JSON/", jsonDir+"/", "BPFFS", n.bpffs).Replace(config)
	n.must(os.WriteFile(path, []byte(text), 0o644))

	socket := filepath.Join(d.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	n.must(err)
	n.must(os.Chmod(socket, 0o777))
	d.notify = conn
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		buf := make([]byte, 4096)
		for {
			k, err := conn.Read(buf)
			if err != nil {
				return
			}
			d.states <- string(buf[:k])
		}
	}()
	n.t.Cleanup(func() { _ = conn.Close(); <-listening })

	args := append(wrapper, program, "run", "--config", path)
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Stderr = &d.stderr
	d.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=3000000")
	n.tap.Start(d.cmd)
	n.t.Cleanup(func() {
		if n.t.Failed() {
			n.t.Logf("the daemon said:\n%s", d.stderr.String())
		}
	})
	d.waitState("READY=1")
	return d
}

// waitState waits for a notification to systemd.
func (d *daemon) waitState(want string) {
	d.t.Helper()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for {
		select {
		case s := <-d.states:
			if s == want {
				return
			}
		case <-late.C:
			d.t.Fatalf("no %s within half a minute; the daemon said:\n%s", want, d.stderr.String())
		}
	}
}

func (d *daemon) signal(s os.Signal) {
	d.t.Helper()
	d.net.must(d.cmd.Process.Signal(s))
}

// wait waits for the daemon to end and returns how.
func (d *daemon) wait() error {
	d.once.Do(func() { d.exit = d.cmd.Wait() })
	return d.exit
}

// stop ends the daemon with SIGTERM, and checks that it ended well and that its ledger balances.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	d.ended()
}

// ended waits for a daemon that was told to stop, and checks the same.
func (d *daemon) ended() {
	d.t.Helper()
	if err := d.wait(); err != nil {
		d.t.Fatalf("after SIGTERM: %v\n%s", err, d.stderr.String())
	}
	if !strings.Contains(d.stderr.String(), "\n0 unaccounted for\n") {
		d.t.Errorf("the ledger does not balance:\n%s", d.stderr.String())
	}
}

// fetch gets a path of the daemon's HTTP server.
func (d *daemon) fetch(path string) string {
	d.t.Helper()
	var body []byte
	d.net.tap.Do(func() {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:9464", 5*time.Second)
		d.net.must(err)
		defer conn.Close()
		req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:9464"+path, nil)
		d.net.must(err)
		req.Close = true
		d.net.must(req.Write(conn))
		all, err := io.ReadAll(conn)
		d.net.must(err)
		head, rest, _ := bytes.Cut(all, []byte("\r\n\r\n"))
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
			d.t.Fatalf("%s: %s", path, head)
		}
		if bytes.Contains(head, []byte("chunked")) {
			rest = unchunk(d.t, rest)
		}
		body = rest
	})
	return string(body)
}

func unchunk(t testing.TB, b []byte) (out []byte) {
	t.Helper()
	for {
		size, rest, ok := bytes.Cut(b, []byte("\r\n"))
		n, err := strconv.ParseUint(string(size), 16, 32)
		if !ok || err != nil {
			t.Fatalf("chunk of size %q", size)
		}
		if n == 0 {
			return out
		}
		out = append(out, rest[:n]...)
		b = rest[n+2:]
	}
}

// status is what the tests look at of /status.
type status struct {
	Sources map[string]struct {
		Condition string
		Mode      string
		Bypass    bool
		Sessions  int // of conntrack
		Kernel    struct {
			Redirected   uint64
			PassNotIP    uint64 `json:"pass_not_ip"`
			PassPort     uint64 `json:"pass_port"`
			PassNoSocket uint64 `json:"pass_no_socket"`
			PastStalled  uint64 `json:"past_stalled"`
			PastByHand   uint64 `json:"past_by_hand"`
			Dropped      uint64 `json:"unread_dropped"`
		}
		Sockets []struct {
			Received   uint64
			RxDropped  uint64 `json:"rx_dropped"`
			RxRingFull uint64 `json:"rx_ring_full"`
		}
	}
	Sinks map[string]struct {
		Phase     string
		LastError string `json:"last_error"`
		InFlight  uint64 `json:"in_flight"`
		Detail    struct{ State string }
	}
	Configuration struct {
		Number  int
		Refused string
	}
	TakenOver *struct {
		Sessions, Records int
		Known             int `json:"source_sessions"`
	} `json:"taken_over"`
	Ledger metrics.Ledger
}

func (d *daemon) status() (s status) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(d.fetch("/status")), &s); err != nil {
		d.t.Fatal(err)
	}
	return s
}

// balances waits until the ledger does: while records are on their way its counters may be of two moments.
func (d *daemon) balances() {
	d.t.Helper()
	eventually(d.t, "the ledger balances", func() bool { return d.status().Ledger.Unaccounted == 0 })
}

// events returns the lines of the file sink, none while there is no file yet.
func (d *daemon) events() string {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, "events.log"))
	if !errors.Is(err, fs.ErrNotExist) {
		d.net.must(err)
	}
	return string(b)
}

// count counts lines that contain all of the words.
func count(lines string, words ...string) (n int) {
	for line := range strings.Lines(lines) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}

// residentKiB returns the resident memory of the daemon.
func (d *daemon) residentKiB() int {
	d.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	d.net.must(err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			d.net.must(err)
			return n
		}
	}
	d.t.Fatal("no VmRSS")
	return 0
}
