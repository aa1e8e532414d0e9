package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// openConfig is the bridge that fails open, with a short patience for a daemon that hangs.
var openConfig = strings.ReplaceAll(bridgeConfig, "mode      = \"bridge\"\n", "mode      = \"bridge\"\non_failure = \"open\"\non_failure_after = \"300ms\"\n")

// stream is a datagram each millisecond from one end of the bridge to the other, each with a number.
type stream struct {
	t    *testing.T
	sent atomic.Int64 // the number of the last

	mu      sync.Mutex
	arrived map[int64]int // number to how often
	last    int64         // the highest
	since   time.Time     // of the last arrival
	gap     time.Duration // longest between two arrivals, since the last call of report
	counted int64         // the highest number at that call
}

// newStream sends from the first host, to a port of the second. It ends with the test.
func newStream(t *testing.T, from, to *nettest.Host, fromIP, toIP string, port uint16) *stream {
	t.Helper()
	s := &stream{t: t, arrived: make(map[int64]int), since: time.Now()}
	const magic = "stream"
	source, dest := from.Wire("eth0"), to.Wire("eth0")
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			payload := binary.BigEndian.AppendUint64([]byte(magic), uint64(s.sent.Load()+1))
			if err := source.TrySend(nettest.UDP{
				Source: netip.MustParseAddr(fromIP), Dest: netip.MustParseAddr(toIP), SourcePort: 4000, DestinationPort: port,
			}.Frame(payload)); err == nil { // else the next tries
				s.sent.Add(1)
			}
		}
	})
	running.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			frame := dest.Receive(50)
			i := strings.Index(string(frame), magic)
			if i < 0 || len(frame) < i+len(magic)+8 {
				continue
			}
			s.take(int64(binary.BigEndian.Uint64(frame[i+len(magic):])))
		}
	})
	t.Cleanup(func() { close(stop); running.Wait() })
	return s
}

func (s *stream) take(number int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.gap, s.since = max(s.gap, now.Sub(s.since)), now
	s.arrived[number]++
	s.last = max(s.last, number)
}

// flows waits until a datagram arrives that was sent after the call.
func (s *stream) flows(what string) {
	s.t.Helper()
	after := s.sent.Load()
	eventually(s.t, what, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.last > after
	})
}

// stops waits until datagrams are sent and do not arrive.
func (s *stream) stops(what string) {
	s.t.Helper()
	eventually(s.t, what, func() bool {
		s.mu.Lock()
		last := s.last
		s.mu.Unlock()
		return s.sent.Load() > last+200
	})
}

// report returns the longest gap since the last call, and how many datagrams of those up to the last that arrived did not. None may
// have arrived twice.
func (s *stream) report() (gap time.Duration, lost int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := s.counted + 1; n <= s.last; n++ {
		switch s.arrived[n] {
		case 0:
			lost++
		case 1:
		default:
			s.t.Errorf("datagram %d has arrived %d times", n, s.arrived[n])
		}
	}
	gap, s.gap, s.counted = s.gap, 0, s.last
	return gap, lost
}

// reads waits until the daemon forwards what is sent after the call.
func (d *daemon) reads() {
	d.t.Helper()
	before := d.status().Ledger.Packets.Forwarded
	eventually(d.t, "the daemon forwards", func() bool { return d.status().Ledger.Packets.Forwarded > before })
}

// stopped waits until all threads of the daemon have stopped.
func (d *daemon) stopped() {
	d.t.Helper()
	eventually(d.t, "the daemon has stopped", func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", d.cmd.Process.Pid))
		d.net.must(err)
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			d.net.must(err)
			if _, state, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return len(tasks) > 0
	})
}

// kills is how often the daemon is killed: more often with PIPELINED_KILLS.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("PIPELINED_KILLS")
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PIPELINED_KILLS: %v", err)
	}
	return n
}

// Traffic goes on whatever becomes of the daemon: killed, stopped in order, hanging. What nobody judged is counted, and told by the
// daemon that comes next. How long the gaps are stands in the output, and decides nothing: the machine may be busy.
func TestFailOpen(t *testing.T) {
	n := bridged(t)
	d := startWith(n, openConfig, "")
	s := newStream(t, n.client, n.server, clientIP, serverIP, 9)
	s.flows("a stream through the bridge")
	d.reads()
	s.report()
	var worst time.Duration
	most := 0
	for k := range kills(t) {
		d.signal(syscall.SIGKILL)
		_ = d.wait()
		s.flows("past a daemon that was killed")
		gap, lost := s.report()
		worst, most = max(worst, gap), max(most, lost)
		d = startWith(n, openConfig, "")
		d.reads()
		s.flows("through the next daemon")
		again, lostAgain := s.report()
		t.Logf("kill %d: gap %v, %d lost; start: gap %v, %d lost", k+1, gap, lost, again, lostAgain)
		worst, most = max(worst, again), max(most, lostAgain)
		if d.status().Ledger.Packets.Bypassed == 0 {
			t.Errorf("kill %d: nothing is told of what went past", k+1)
		}
		d.balances()
	}
	t.Logf("longest gap %v, at most %d of 1000 datagrams a second lost", worst, most)
	if out := d.stderr.String(); !strings.Contains(out, "goes on with the XDP program that was left on the interface") {
		eventually(t, "the log tells of the former run", func() bool { return strings.Contains(d.stderr.String(), "went_past_meanwhile") })
	}

	// It hangs.
	d.signal(syscall.SIGSTOP)
	d.stopped()
	s.flows("past a daemon that hangs")
	d.signal(syscall.SIGCONT)
	d.reads()
	s.flows("through a daemon that goes on")
	gap, lost := s.report()
	t.Logf("stopped: gap %v, %d lost", gap, lost)
	st := d.status()
	if st.Sources["lan"].Kernel.PastStalled == 0 {
		t.Errorf("%+v", st.Sources["lan"].Kernel)
	}

	// By hand: also what no policy permits.
	denied := newStream(t, n.server, n.client, serverIP, clientIP, 9)
	denied.stops("nothing that is denied arrives")
	if out := n.command("bypass", "on", "lan0"); strings.Count(out, " on ") != 2 { // with its peer
		t.Errorf("bypass on:\n%s", out)
	}
	denied.flows("past the policies")
	if st := d.status(); !st.Sources["lan"].Bypass || !st.Sources["wan"].Bypass || st.Sources["wan"].Kernel.PastByHand == 0 {
		t.Errorf("%+v", st.Sources)
	}
	eventually(t, "the log tells of the bypass", func() bool { return strings.Contains(d.stderr.String(), "bypass is on") })
	if out, err := runIn(n.tap, program, "status", "--config", d.dir+"/pipeline.toml"); err == nil || !strings.Contains(out, "bypass is on") {
		t.Errorf("status: %v\n%s", err, out)
	}
	n.command("bypass", "off")
	denied.stops("nothing that is denied arrives")
	d.reads()
	if out, err := runIn(n.tap, program, "detach", "--bpffs", n.bpffs); err == nil || !strings.Contains(out, "a running pipelined reads it") {
		t.Errorf("detach: %v\n%s", err, out)
	}

	// Stopped in order, and upgraded: what is permitted goes on, and so does everything else.
	s.report()
	d.stop()
	if out := d.stderr.String(); !strings.Contains(out, "packets went past, and nobody judged them") {
		t.Errorf("the ledger does not tell of what went past:\n%s", out)
	}
	if out := d.stderr.String(); !strings.Contains(out, "packets between the two interfaces go past from now on") {
		t.Errorf("the log does not tell of what is left:\n%s", out)
	}
	s.flows("past nobody")
	denied.flows("past nobody")
	d = startWith(n, openConfig, "")
	d.reads()
	s.flows("through the next daemon")
	gap, lost = s.report()
	t.Logf("stopped in order and started: gap %v, %d lost", gap, lost)
	d.stop()
	n.detach()
	s.stops("nothing crosses without a program")
}

// A killed daemon leaves a bridge that fails closed as closed as it was. It runs as the systemd unit runs it: as nobody, in a directory
// that was made for it.
func TestFailClosed(t *testing.T) {
	n := bridged(t)
	// What a user may lock has room for the buffers of two daemons, of which the kernel may not have let go of one yet.
	closedConfig := strings.ReplaceAll(bridgeConfig, "frames    = 1024", "frames    = 512")
	pins := filepath.Join(n.bpffs, "pipelined")
	n.must(errors.Join(os.Mkdir(pins, 0o700), os.Chown(pins, 65534, 65534)))
	d := startWith(n, closedConfig, "", asNobody...)
	s := newStream(t, n.client, n.server, clientIP, serverIP, 9)
	s.flows("a stream through the bridge")
	d.signal(syscall.SIGKILL)
	_ = d.wait()
	s.stops("nothing crosses")
	d = startWith(n, closedConfig, "", asNobody...)
	s.flows("through the next daemon")
	if st := d.status(); st.Sources["lan"].Kernel.Dropped == 0 || st.Ledger.Packets.Lost == 0 || st.Ledger.Packets.Bypassed != 0 {
		t.Errorf("%+v, lost %d", st.Sources["lan"].Kernel, st.Ledger.Packets.Lost)
	}
	d.stop()
	if out := d.stderr.String(); !strings.Contains(out, "nothing crosses between the two interfaces any more") {
		t.Errorf("the log does not tell of what is left:\n%s", out)
	}
	s.stops("nothing crosses")
	n.command("bypass", "on")
	s.flows("past nobody, by hand")
	n.detach()
}
