package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

const upgradeConfig = `
[pipeline]
sources = ["sessions", "packets"]
hooks   = ["policies"]
sinks   = ["json", "hub"]
[zones]
lan.interfaces = ["lan0"]
wan.interfaces = ["wan0"]
dmz.interfaces = ["dmz0"]
[sources]
sessions = { plugin = "conntrack" }
packets  = { plugin = "afpacket", interfaces = ["lan0"] }
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name = "everything"
from = "any"
to   = "any"
then = "permit"
[sinks]
json = { plugin = "file", path = "DIR/events.json", format = "json" }
hub  = { plugin = "unixsock", path = "DIR/events.sock" }
[service]
metrics = "127.0.0.1:9464"
drain   = "300ms"
state   = "DIR/state"
`

// again stops the daemon and starts its program again, as systemctl restart does.
func (d *daemon) again() *daemon {
	d.t.Helper()
	d.stop()
	next := &daemon{t: d.t, net: d.net, dir: d.dir, notify: d.notify, states: d.states}
	next.cmd = exec.Command(d.cmd.Args[0], d.cmd.Args[1:]...)
	next.cmd.Stderr, next.cmd.Env = &next.stderr, d.cmd.Env
	d.net.tap.Start(next.cmd)
	d.t.Cleanup(func() {
		if d.t.Failed() {
			d.t.Logf("the next daemon said:\n%s", next.stderr.String())
		}
	})
	next.waitState("READY=1")
	return next
}

// of returns the records of an action of a connection: hosts say other things, too.
func (d *daemon) of(conn net.Conn, action string) (list []record) {
	d.t.Helper()
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	d.net.must(err)
	for _, r := range d.records(action) {
		if fmt.Sprint(r.Source.Port) == port {
			list = append(list, r)
		}
	}
	return list
}

// hub is a receiver of the event stream.
type hub struct {
	mu      sync.Mutex
	hellos  []eventstream.Hello
	records []event.Record
	gaps    []eventstream.Gap
	resyncs int

	eventstream.Receiver
}

// listen receives until the test ends.
func (h *hub) listen(t *testing.T, path string) {
	t.Helper()
	h.Handler = eventstream.Handler{
		Hello: func(hello eventstream.Hello, _ eventstream.Position) {
			h.note(func() { h.hellos = append(h.hellos, hello) })
		},
		Gap: func(g eventstream.Gap) { h.note(func() { h.gaps = append(h.gaps, g) }) },
		Record: func(_ context.Context, rec *event.Record) error {
			h.note(func() { h.records = append(h.records, *rec) })
			return nil
		},
		Resync: func(context.Context) error { h.note(func() { h.resyncs++ }); return nil },
	}
	l, err := eventstream.ListenUnix(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = h.Accept(ctx, l) }() // ends with the context
	t.Cleanup(func() { cancel(); <-ended })
}

func (h *hub) note(what func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what()
}

// received returns how many records there were.
func (h *hub) received() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.records)
}

// fetch fetches a page over a connection of its own, from that port.
func (f *firewall) fetch(port int) (err error) {
	f.LAN.Do(func() {
		from := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}, Timeout: 20 * time.Second}
		var conn net.Conn
		if conn, err = from.Dial("tcp", net.JoinHostPort(nettest.WANHost, "80")); err != nil {
			return
		}
		defer conn.Close()
		if _, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: www\r\nConnection: close\r\n\r\n"); err != nil {
			return
		}
		var answer *http.Response
		if answer, err = http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
		}
	})
	return err
}

// fetchAll makes connections one after the other until ctx ends, and returns how many. No two are from the same port.
func (f *firewall) fetchAll(ctx context.Context, port int) (n int, err error) {
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for ; ctx.Err() == nil; n++ {
		if err := f.fetch(port + n); err != nil {
			return n, err
		}
		<-pace.C
	}
	return n, nil
}

// restarts returns how many times the daemon is started again: PIPELINED_RESTARTS, else 4.
func restarts(t *testing.T) int {
	text := os.Getenv("PIPELINED_RESTARTS")
	if text == "" {
		return 4
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUpgrade stops and starts the daemon again and again while connections begin and end, in one of the times with a receiver that takes
// nothing: over all runs each sink has one stream without a gap, every connection begins once and ends once, and each time without a
// daemon is told.
func TestUpgrade(t *testing.T) {
	f := newFirewall(t)
	f.Set("netfilter/nf_conntrack_events", "1") // else connections that begin while nobody listens have no events
	var h hub
	n := restarts(t)
	// The socket is in the directory of the daemon, which is made first.
	dir := t.TempDir()
	f.must(os.Mkdir(filepath.Join(dir, "state"), 0o700))
	h.listen(t, filepath.Join(dir, "events.sock"))
	f.talk(nil) // lives before and after all daemons, and is told of by none
	d := startWith(f.network, strings.ReplaceAll(upgradeConfig, "DIR/", dir+"/"), "")
	d.dir = dir
	// A daemon that ends before it has read the kernel's table does not know which connections there are, and nor does the next.
	eventually(t, "the daemon has read the table", func() bool {
		return sum(t, d.fetch("/metrics"), "pipelined_source_total", `counter="found"`) > 0
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	made, failed := make([]int, 2), make([]error, 2)
	var clients sync.WaitGroup
	for i := range made {
		clients.Go(func() { made[i], failed[i] = f.fetchAll(ctx, 2000+15000*i) })
	}
	long, total := f.talk(nil), 1 // lives through all of them
	for i := range n {
		before := h.received()
		eventually(t, "records come", func() bool { return h.received() > before })
		if i == 1 {
			h.Pause()
			// It is asked for: what waits for certain is of a connection that comes when it is given.
			eventually(t, "the receiver is given its pause", func() bool { return d.status().Sinks["hub"].Detail.State == "paused" })
			later := f.talk(nil)
			total++
			f.must(later.Close())
			eventually(t, "records wait for the receiver", func() bool { return len(d.of(later, opened)) > 0 })
		}
		d = d.again()
		f.talk(long)
		st := d.status()
		if st.TakenOver == nil || st.TakenOver.Known == 0 {
			t.Fatalf("run %d: taken over %+v", i+2, st.TakenOver)
		}
		if h.Resume(); i == 1 && st.TakenOver.Records == 0 {
			t.Error("the receiver has taken nothing, and no record is taken over")
		}
	}
	stop()
	clients.Wait()
	f.must(long.Close())
	for i := range made {
		if total += made[i]; failed[i] != nil {
			t.Fatal(failed[i])
		}
	}
	// The kernel keeps a connection that has ended for two minutes: all of them are told.
	eventually(t, "every connection has ended", func() bool {
		n := 0
		for _, r := range d.records(ended) {
			if r.Destination.Port == 80 { // the control connections of the test are told, too
				n++
			}
		}
		return n >= total
	})
	eventually(t, "the receiver has all", func() bool {
		all := d.records()
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.records) > 0 && int(h.records[len(h.records)-1].Seq()) == len(all)
	})
	if !strings.Contains(d.fetch("/metrics"), `pipelined_hook_packets_total{counter="everything",hook="policies"}`) {
		t.Error("there is no counter of the policy")
	}
	d.stop()

	// The file: numbers without a gap, and two records of every connection.
	records := d.records()
	begins, ends, told := make(map[string]int), make(map[string]int), 0
	for i, r := range records {
		if r.Event.Sequence != uint64(i+1) {
			t.Fatalf("line %d of the file has number %d", i+1, r.Event.Sequence)
		}
		switch r.Event.Action {
		case opened:
			if r.Destination.Port == 80 {
				begins[r.flow(t).key()]++
			}
		case ended:
			if r.Destination.Port == 80 {
				ends[r.flow(t).key()]++
			}
		case lost:
			if told++; r.Event.Reason != "restart" {
				t.Errorf("line %d tells of a loss: %s", i+1, r.Event.Reason)
			}
		}
	}
	if len(begins) != total || len(ends) != total || told != n {
		t.Errorf("%d connections were made; %d began, %d ended; %d of %d restarts are told", total, len(begins), len(ends), told, n)
	}
	for key, k := range begins {
		if k != 1 || ends[key] != 1 {
			t.Errorf("%s: %d beginnings, %d ends", key, k, ends[key])
		}
	}

	// The stream: one epoch, numbers without a gap, the same sessions by their ids.
	h.mu.Lock()
	defer h.mu.Unlock()
	sessions := make(map[uint64]string)
	for i := range h.records {
		rec := &h.records[i]
		if int(rec.Seq()) != i+1 {
			t.Fatalf("record %d of the stream has number %d", i+1, rec.Seq())
		}
		switch rec.Kind() {
		case event.SessionOpen:
			sessions[rec.SessionID()] += "o"
		case event.SessionClose:
			sessions[rec.SessionID()] += "c"
		}
	}
	pairs := 0
	for id, what := range sessions {
		switch what {
		case "oc":
			pairs++
		case "o": // of the last status
		default:
			t.Errorf("session %d: %s", id, what)
		}
	}
	if pairs < total || len(h.gaps) != 0 || h.resyncs != 0 || len(h.hellos) < n+1 {
		t.Errorf("%d sessions of %d, gaps %v, %d resyncs, %d connections", pairs, total, h.gaps, h.resyncs, len(h.hellos))
	}
	for _, hello := range h.hellos {
		if hello.Epoch != h.hellos[0].Epoch {
			t.Errorf("epochs %d and %d", h.hellos[0].Epoch, hello.Epoch)
		}
	}
}

// TestUpgradePackets does the same where the daemon makes the sessions itself, of packets: a connection that goes on beyond two restarts
// begins once and ends once, with what was seen of it in all runs; the counter of its policy goes on.
func TestUpgradePackets(t *testing.T) {
	f := newFirewall(t)
	config := strings.NewReplacer(`"sessions", `, "", `"json", "hub"`, `"json"`, `["lan0"] }`, `["lan0"], workers = 1 }`).Replace(upgradeConfig)
	dir := t.TempDir()
	f.must(os.Mkdir(filepath.Join(dir, "state"), 0o700))
	d := startWith(f.network, strings.ReplaceAll(config, "DIR/", dir+"/"), "")
	d.dir = dir
	conn := f.talk(nil)
	// One worker reads the packets in their order: when it has told of a connection that came later, it has seen those before.
	seen := func() {
		t.Helper()
		later := f.talk(nil)
		eventually(t, "the page is seen", func() bool { return len(d.of(later, opened)) == 1 })
		f.must(later.Close())
	}
	for range 2 {
		seen()
		d = d.again()
		f.talk(conn)
		if st := d.status(); st.TakenOver == nil || st.TakenOver.Sessions == 0 {
			t.Fatalf("taken over: %+v", st.TakenOver)
		}
	}
	seen()
	f.must(conn.Close())
	eventually(t, "the connection has ended", func() bool { return len(d.of(conn, ended)) == 1 })
	d.stop()
	if n, told := len(d.of(conn, opened)), len(d.records(lost)); n != 1 || told != 2 {
		t.Errorf("%d beginnings, %d losses", n, told)
	}
	end := d.of(conn, ended)[0]
	if got := end.flow(t); got.replies.bytes < 3*10000 || end.Event.Reason != "TCP FIN" {
		t.Errorf("closed for %q with %+v: want three pages", end.Event.Reason, got)
	}
	if fmt.Sprint(d.records(lost)[0].Event.Reason) != "restart" {
		t.Errorf("the loss: %+v", d.records(lost)[0])
	}
}
