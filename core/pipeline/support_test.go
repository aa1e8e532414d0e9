package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/monotonic"
	"github.com/rtflow/pipelined/sdk"
)

// fakeSource has queues that make flows of one UDP packet each, until they have made enough or their error is due.
type fakeSource struct {
	queues []*fakeQueue
	timed  source.FrameSource // one more; nil: none
	closed atomic.Bool
	blind  atomic.Bool
}

func (s *fakeSource) Blind() error {
	if s.blind.Load() {
		return errors.New("interface lan0 is down")
	}
	return nil
}

func (s *fakeSource) Queues() (list []source.FrameSource) {
	for _, q := range s.queues {
		list = append(list, q)
	}
	if s.timed != nil {
		list = append(list, s.timed)
	}
	return list
}
func (s *fakeSource) Status() any                { return map[string]int{"queues": len(s.queues)} }
func (s *fakeSource) Counters() []source.Counter { return []source.Counter{{Name: "made", Value: 1}} }
func (s *fakeSource) Close() error               { s.closed.Store(true); return nil }

type fakeQueue struct {
	flows int   // to make; after that, end
	end   error // io.EOF, another error, or nil: go on without packets
	base  uint32
	made  uint32
	stuck chan struct{}    // if set, Receive hangs until it is closed
	more  atomic.Int64     // flows to make besides
	halt  atomic.Bool      // make no more
	clock *monotonic.Clock // that real sources have; nil: Unix time
}

func (q *fakeQueue) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	if q.stuck != nil {
		<-q.stuck
	}
	b.N = 0
	b.Now = time.Now().UnixNano()
	b.Wall = b.Now
	if q.clock != nil {
		b.Now, b.Wall = q.clock.Read()
	}
	for b.N < packet.BatchSize && int64(q.made) < int64(q.flows)+q.more.Load() && !q.halt.Load() {
		f := make([]byte, 14+20+8)
		f[12], f[13] = 0x08, 0x00
		f[14], f[17], f[22], f[23] = 0x45, 28, 64, packet.ProtoUDP
		binary.BigEndian.PutUint32(f[26:], 0x0a000000+q.base+q.made)
		binary.BigEndian.PutUint32(f[30:], 0xc6336401)
		f[39] = 8
		q.made++
		b.Frames[b.N] = packet.Frame{Data: f, Wire: len(f), Time: b.Now}
		b.N++
	}
	if b.N > 0 {
		return nil
	}
	if q.end != nil {
		return q.end
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}

func (q *fakeQueue) Release() {}

// sinkFunc is a sink that is a function.
type sinkFunc func(ctx context.Context, s sdk.Stream) error

func (f sinkFunc) Run(ctx context.Context, s sdk.Stream) error { return f(ctx, s) }

// deliverAll acknowledges what it gets, at once.
func deliverAll(ctx context.Context, s sdk.Stream) error {
	return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) { return b.Len(), nil }).Run(ctx, s)
}

// rig is a plan over fakes.
type rig struct {
	t       testing.TB
	source  *fakeSource
	events  *fakeEvents // of the plugin "events"
	openErr error
	live    bool
	sinks   map[string]sinkFunc
	log     strings.Builder
	ids     map[string]uint16 // of zones, for plans
}

func newRig(t testing.TB, live bool, queues ...*fakeQueue) *rig {
	return &rig{t: t, live: live, source: &fakeSource{queues: queues}, sinks: make(map[string]sinkFunc)}
}

func (r *rig) registry() *plan.Registry {
	r.t.Helper()
	reg, err := plan.NewRegistry(
		[]source.Plugin{{Name: "fake", Configure: func(sdk.Config, source.Env) source.Configured {
			return source.Configured{Live: r.live, Interfaces: []string{"eth0"}, Open: func(context.Context, *zone.Table) (source.Source, error) {
				if r.openErr != nil {
					return nil, r.openErr
				}
				return r.source, nil
			}}
		}}, {Name: "events", Configure: func(sdk.Config, source.Env) source.Configured {
			return source.Configured{Live: true, Events: true, Sessions: true, Incoming: true, Open: func(context.Context, *zone.Table) (source.Source, error) {
				return r.events, nil
			}}
		}}},
		[]hook.Plugin{{Name: "nothing", Configure: func(sdk.Config, hook.Env) hook.Instance { return hook.Instance{} }}},
		[]sdk.SinkPlugin{{Name: "fake", Configure: func(cfg sdk.Config, _ sdk.Env) sdk.Sink { return r.sinks[cfg.Name()] }}},
	)
	if err != nil {
		r.t.Fatal(err)
	}
	return reg
}

// plan plans a configuration and fails the test if there is a mistake in it.
func (r *rig) plan(text string) *plan.Plan {
	r.t.Helper()
	file, problems := config.Parse("p.toml", []byte(text))
	p := plan.New(file, problems, plan.Options{Registry: r.registry(), Log: slog.New(slog.NewTextHandler(&r.log, nil)), Hostname: "host", ZoneIDs: r.ids})
	if err := problems.Err(); err != nil {
		r.t.Fatal(err)
	}
	return p
}

const twoSinks = `
[pipeline]
sources = ["in"]
sinks   = ["good", "other"]
[replay]
slots     = 128
telemetry = 96
per_kind  = 96
[sources.in]
plugin = "fake"
[sinks.good]
plugin = "fake"
[sinks.other]
plugin = "fake"
[service]
drain = "5s"
`

func (r *rig) open(text string) *Pipeline {
	r.t.Helper()
	pl, err := Open(r.t.Context(), r.plan(text), Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	return pl
}

var errBroken = io.ErrNoProgress
