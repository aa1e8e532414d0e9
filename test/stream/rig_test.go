package stream

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// zones is how many ingress zones there are.
const zones = 64

// rig is a pipeline from the gate to a socket: one lane, one ring, one sink.
type rig struct {
	testing.TB
	gate *admission.Gate
	lane *admission.Lane
	ring *replay.Ring
	sink *unixsock.Sink

	buffer atomic.Int32 // of the sink's next sockets, in bytes; 0 leaves it

	events  []admission.Event // that wait for the next flush
	clock   func() int64      // of the events; nil: each has its number as time
	made    int64             // events offered so far
	offered [event.NumKinds]uint64
	stop    context.CancelFunc
	done    chan struct{} // closed when the delivery has ended
}

// narrow is a connector whose sockets may have small buffers: what a receiver that does not read can be sent is bounded by
// the buffer of the end that sends.
type narrow struct {
	unixsock.Connector
	size *atomic.Int32
}

func (n *narrow) Connect(ctx context.Context, draining <-chan struct{}) (net.Conn, error) {
	conn, err := n.Connector.Connect(ctx, draining)
	if size := n.size.Load(); err == nil && size > 0 {
		err = conn.(*net.UnixConn).SetWriteBuffer(int(size))
	}
	return conn, err
}

type option func(*admission.Config, *deliver.Config)

func newRig(tb testing.TB, path string, limits replay.Limits, options ...option) *rig {
	tb.Helper()
	ring, err := replay.New(limits)
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{TB: tb, ring: ring, done: make(chan struct{})}
	r.sink = unixsock.New(unixsock.Config{Connector: &narrow{Connector: unixsock.Dialer(path, unixsock.Peers{}), size: &r.buffer}})
	g := admission.Config{Lanes: 1, Sinks: []admission.Sink{{Name: "hub", Ring: ring, Only: event.AllKinds}}}
	for k := range g.Rates {
		g.Rates[k] = admission.Rate{PerSecond: 1e9, Burst: 1e9}
	}
	for z := range zones {
		g.Zones = append(g.Zones, uint16(z+1))
	}
	d := deliver.Config{
		Name: "hub", Sink: r.sink, Ring: ring, Epoch: epoch, Log: slog.New(slog.DiscardHandler),
		Names: func(uint32) *event.Names { return new(event.Names) },
	}
	for _, o := range options {
		o(&g, &d)
	}
	if r.gate, err = admission.New(g); err != nil {
		tb.Fatal(err)
	}
	r.lane = r.gate.Lane(context.Background(), 0)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { defer close(r.done); deliver.New(d).Run(ctx) }()
	tb.Cleanup(func() { cancel(); <-r.done })
	return r
}

// offer offers n events of a kind in the zones one after the other, and flushes.
func (r *rig) offer(k event.Kind, n int) {
	for range n {
		if len(r.events) == admission.MaxBatch {
			r.flush()
		}
		r.made++
		r.offered[k]++
		zone := uint16(r.made%zones + 1)
		if !r.lane.Offer(k, r.lane.Slot(zone), r.made) {
			continue
		}
		e := admission.Event{
			Kind: k, Time: r.made,
			Flow: packet.Tuple{Family: packet.IPv4, Proto: 17, Src: packet.Addr{10, 0, 0, 1}, Dst: packet.Addr{192, 0, 2, 1}, SrcPort: uint16(r.made), DstPort: 53},
		}
		if r.clock != nil {
			e.Time = r.clock()
		}
		r.events = append(r.events, e)
	}
	r.flush()
}

func (r *rig) flush() {
	r.lane.Flush(r.made, r.made, r.events)
	r.events = r.events[:0]
}

// finish stops the load, waits until everything is delivered, and checks that all of it is accounted for.
func (r *rig) finish() admission.Ledger {
	r.Helper()
	r.lane.Finish(r.made, r.made)
	r.gate.AnnounceMissing(0, nil)
	r.ring.Drain()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.Fatalf("not drained: %+v, %+v", r.ring.State(), r.sink.Status())
	}
	led, st := r.gate.Ledger(), r.ring.State()
	q := &led.Sinks[0]
	for _, k := range event.Kinds() {
		rel := st.Released
		if k != event.Loss && (led.Offered[k] != r.offered[k] || led.Admitted[k] != q.Queued[k]+q.OverBudget[k]) {
			r.Errorf("P1, %v: offered %d, ledger %d; admitted %d, queued %d, over budget %d", k, r.offered[k], led.Offered[k],
				led.Admitted[k], q.Queued[k], q.OverBudget[k])
		}
		if q.Queued[k] != rel.Acknowledged[k] || rel.Rejected[k]+rel.Evicted[k]+rel.Abandoned[k]+st.InFlight[k] != 0 {
			r.Errorf("P1, %v: queued %d, acknowledged %d, in flight %d", k, q.Queued[k], rel.Acknowledged[k], st.InFlight[k])
		}
	}
	if all, telemetry := r.ring.Credits(); all != 0 || telemetry != 0 {
		r.Errorf("P2: %d credits and %d of telemetry are still out", all, telemetry)
	}
	return led
}

// patience is how long a test waits for what must happen; nothing is concluded from how long it took.
const patience = time.Minute

func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s: did not happen", what)
		}
	}
}

// child is a receiver in another process.
type child struct {
	testing.TB
	*exec.Cmd
}

// startChild starts this program in another role. It does not outlive the test.
func startChild(tb testing.TB, as string, args ...string) *child {
	tb.Helper()
	c := &child{tb, exec.Command(os.Args[0], args...)}
	c.Env = append(os.Environ(), role+"="+as)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if c.ProcessState == nil {
			c.end(syscall.SIGKILL)
		}
	})
	return c
}

func (c *child) signal(s syscall.Signal) {
	c.Helper()
	if err := c.Process.Signal(s); err != nil {
		c.Fatalf("%v: %v", s, err)
	}
}

// end signals the process and waits for its end.
func (c *child) end(s syscall.Signal) {
	c.Helper()
	c.signal(s)
	if err := c.Wait(); err != nil && s != syscall.SIGKILL {
		c.Errorf("the receiver: %v", err)
	}
}

func (c *child) String() string { return fmt.Sprint("receiver ", c.Process.Pid) }
