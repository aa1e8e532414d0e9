package deliver

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

const epoch = 77

type sinkFunc func(ctx context.Context, s sdk.Stream) error

func (f sinkFunc) Run(ctx context.Context, s sdk.Stream) error { return f(ctx, s) }

// logged keeps the messages of a log, by level.
type logged struct {
	mu   sync.Mutex
	warn []string
	info []string
	errs []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch r.Level {
	case slog.LevelWarn:
		l.warn = append(l.warn, r.Message)
	case slog.LevelError:
		l.errs = append(l.errs, r.Message)
	default:
		l.info = append(l.info, r.Message)
	}
	return nil
}

func (l *logged) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logged) WithGroup(string) slog.Handler      { return l }

func (l *logged) counts() (warn, info, errs int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.warn), len(l.info), len(l.errs)
}

// rig is a delivery over a real ring.
type rig struct {
	*Delivery
	t    *testing.T
	log  *logged
	stop context.CancelFunc
	done chan struct{}
}

// start runs a delivery of the sink until the test ends. Call it inside the bubble of a synctest.
func start(t *testing.T, sink sinkFunc) *rig {
	t.Helper()
	ring, err := replay.New(replay.Limits{Slots: 1024, Telemetry: 512, PerKind: 256})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, log: new(logged), done: make(chan struct{})}
	r.Delivery = New(Config{
		Name: "sink", Sink: sink, Ring: ring, Epoch: epoch, Log: slog.New(r.log),
		Names: func(uint32) *event.Names { return new(event.Names) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { defer close(r.done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// put appends n session records and wakes the sink once.
func (r *rig) put(n int) {
	r.t.Helper()
	if got := r.Ring.Acquire(replay.Priority, n); got != n {
		r.t.Fatalf("got %d of %d credits", got, n)
	}
	pos := r.Ring.Claim(n)
	var rec event.Record
	for i := range n {
		rec.Reset(event.SessionOpen)
		r.Ring.Put(pos+event.Seq(i), replay.Priority, &rec)
	}
	r.Ring.Wake()
}

// acknowledged returns how many records the ring has released as acknowledged.
func (r *rig) acknowledged() uint64 { return r.Ring.State().Released.Acknowledged[event.SessionOpen] }

// deliverAll is a sink's Run that works.
func deliverAll(ctx context.Context, s sdk.Stream) error {
	for {
		b, err := s.Next(ctx, -1)
		if err != nil {
			return err
		}
		if err := s.Ack(b.Last()); err != nil {
			return err
		}
	}
}

func seqs(b sdk.Batch) (list []event.Seq) {
	for i := range b.Records {
		list = append(list, b.Records[i].Seq())
	}
	return list
}

const forever = 365 * 24 * time.Hour
