package unixsock

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Connector finds a receiver. Connect and Close are not called at the same time.
type Connector interface {
	// Connect returns a connection to a receiver. It waits for one as long as that makes sense, at most until ctx ends, and
	// not any longer when draining is closed: the pipeline is stopping then.
	Connect(ctx context.Context, draining <-chan struct{}) (net.Conn, error)
	// Close gives up what was kept between two connections.
	Close() error
	// Refused returns how many connections were turned away because there was one. Safe for concurrent use.
	Refused() uint64
}

// Config is what a sink is made of.
type Config struct {
	Connector Connector
	Delta     bool          // session records in the layout of the existing protocol, and nothing that it does not have
	Silence   time.Duration // how long a receiver that owes an acknowledgement may say nothing
	Warn      func(msg string, args ...any)

	Mode, Path string // for Status
}

// Sink is the producing end of an event stream.
type Sink struct {
	Config

	// What outlives a connection. It belongs to the link that runs: highest to its writer, the rest is guarded by its lock.
	epoch   uint64    // of the stream that the others are of
	acked   event.Seq // released by acknowledgements
	owed    owed
	highest event.Seq // ever sent

	counters counters

	mu     sync.Mutex
	status Status
}

var (
	_ sdk.Sink            = (*Sink)(nil)
	_ sdk.Reporter        = (*Sink)(nil)
	_ sdk.CounterReporter = (*Sink)(nil)
	_ sdk.Exclusive       = (*Sink)(nil)
	_ sdk.Waiter          = (*Sink)(nil)
	_ sdk.Successor       = (*Sink)(nil)
)

// State is what a sink is doing.
type State string

const (
	Connecting State = "connecting" // there is no receiver
	Streaming  State = "streaming"  // records go out
	Paused     State = "paused"     // the receiver has asked for a pause
	Resyncing  State = "resyncing"  // the receiver is being told what lives
	Draining   State = "draining"   // all records are out, and acknowledgements are waited for
)

// Status is what a sink reports about itself.
type Status struct {
	Mode     string    `json:"mode"`
	Path     string    `json:"path"`
	State    State     `json:"state"`
	Since    time.Time `json:"since"`
	Receiver string    `json:"receiver,omitempty"` // the process at the other end: "pid 812, uid 0"
}

// counters are a sink's own counters.
type counters struct {
	connections, replayed, resyncs, sessions                atomic.Uint64
	acks, staleAcks, badAcks, unknownFrames, malformed      atomic.Uint64
	pauses, drains, drainsMissed, keepalives, silent, taken atomic.Uint64
}

// New returns a sink.
func New(c Config) *Sink {
	if c.Warn == nil {
		c.Warn = func(string, ...any) {}
	}
	if c.Silence <= 0 {
		c.Silence = defaultSilence
	}
	return &Sink{Config: c, status: Status{Mode: c.Mode, Path: c.Path, State: Connecting, Since: time.Now()}}
}

// Run serves one connection.
func (k *Sink) Run(ctx context.Context, s sdk.Stream) error {
	k.enter(Connecting)
	var draining <-chan struct{}
	if n, ok := s.(sdk.DrainNotifier); ok {
		draining = n.Draining()
	}
	conn, err := k.Connector.Connect(ctx, draining)
	if err != nil {
		return err
	}
	k.counters.connections.Add(1)
	k.connected(conn)
	defer k.enter(Connecting)
	k.follow(s)
	return newLink(ctx, k, conn, s).run()
}

// follow forgets what was known of another stream.
func (k *Sink) follow(s sdk.Stream) {
	epoch := s.Epoch()
	if epoch == k.epoch {
		return
	}
	if k.epoch != 0 {
		k.owed = owed{}
	}
	k.epoch, k.acked = epoch, 0
	if p, ok := s.(sdk.Positioned); ok {
		k.acked = p.Acknowledged()
	}
	k.highest = k.acked
}

// Close ends listening.
func (k *Sink) Close() error { return k.Connector.Close() }

// Succeed takes over what the sink before knows of its receiver. At another socket, or with frames of another layout, there is another
// receiver, which is told what lives.
func (k *Sink) Succeed(former sdk.Sink) {
	f, ok := former.(*Sink)
	if !ok {
		k.owed = owed{from: 1, until: outOfReach} // there is another receiver: it is told what lives
		return
	}
	k.epoch, k.acked, k.owed, k.highest = f.epoch, f.acked, f.owed, f.highest
	k.moved(f.Path, f.Delta)
}

// moved notes that the sink whose positions this one has taken over was at that socket, with frames of that layout.
func (k *Sink) moved(path string, delta bool) {
	if path != k.Path || delta != k.Delta {
		k.highest, k.owed = k.acked, owed{from: k.acked + 1, until: outOfReach}
	}
}

// Exclusive returns the socket: a receiver has one producer.
func (k *Sink) Exclusive() string { return "unix socket " + k.Path }

// Waiting reports whether there is no receiver.
func (k *Sink) Waiting() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status.State == Connecting
}

// Status returns a [Status].
func (k *Sink) Status() any {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// Counters returns the sink's own counters; its page says what they mean.
func (k *Sink) Counters() []sdk.Counter {
	c := &k.counters
	return []sdk.Counter{
		{Name: "connections", Value: c.connections.Load()},
		{Name: "connections_refused", Value: k.Connector.Refused()},
		{Name: "taken_over", Value: c.taken.Load()},
		{Name: "replayed", Value: c.replayed.Load()},
		{Name: "resyncs", Value: c.resyncs.Load()},
		{Name: "resync_sessions", Value: c.sessions.Load()},
		{Name: "acks", Value: c.acks.Load()},
		{Name: "stale_acks", Value: c.staleAcks.Load()},
		{Name: "bad_acks", Value: c.badAcks.Load()},
		{Name: "unknown_frames", Value: c.unknownFrames.Load()},
		{Name: "malformed_frames", Value: c.malformed.Load()},
		{Name: "pauses", Value: c.pauses.Load()},
		{Name: "drains", Value: c.drains.Load()},
		{Name: "drains_missed", Value: c.drainsMissed.Load()},
		{Name: "keepalives", Value: c.keepalives.Load()},
		{Name: "silent_receivers", Value: c.silent.Load()},
	}
}

func (k *Sink) enter(s State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s == Connecting {
		k.status.Receiver = ""
	}
	if k.status.State != s {
		k.status.State, k.status.Since = s, time.Now()
	}
}

func (k *Sink) connected(conn net.Conn) {
	peer := peerOf(conn)
	k.mu.Lock()
	k.status.Receiver = peer
	k.mu.Unlock()
	k.enter(Streaming)
}
