package pipeline

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// fakeEvents is a source of events that keeps sessions. It yields what is sent to next.
type fakeEvents struct {
	sync.Mutex
	fd   int
	next chan source.Event // closed: it ends
	live []source.Event
	lost uint64
}

func newFakeEvents(t *testing.T) *fakeEvents {
	t.Helper()
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) // always readable
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &fakeEvents{fd: fd, next: make(chan source.Event, source.EventBatchSize)}
}

func (s *fakeEvents) Stream() source.EventStream { return s }
func (s *fakeEvents) FD() int                    { return s.fd }
func (s *fakeEvents) Status() any                { return map[string]string{"kind": "events"} }
func (s *fakeEvents) Close() error               { return nil }
func (s *fakeEvents) Counters() []source.Counter {
	s.Lock()
	defer s.Unlock()
	return []source.Counter{{Name: "missed", Queue: -1, Value: s.lost, Lost: true}}
}

func (s *fakeEvents) Read(b *source.EventBatch, _, _ int64) (time.Duration, error) {
	s.Lock()
	defer s.Unlock()
	b.N = 0
	for b.N < source.EventBatchSize {
		select {
		case e, more := <-s.next:
			if !more {
				return 0, io.EOF
			}
			if e.What == source.Lost {
				s.lost += e.Lost.Total()
			}
			*b.Add() = e
		default:
			return -1, nil
		}
	}
	return 0, nil
}

func (s *fakeEvents) Sessions(yield func(*source.Event) bool) {
	s.Lock()
	live := append([]source.Event(nil), s.live...)
	for i := range live {
		kept := *live[i].Kept
		live[i].Kept = &kept
	}
	s.Unlock()
	for i := range live {
		if !yield(&live[i]) {
			return
		}
	}
}

const eventsConfig = `
[pipeline]
sources = ["in"]
sinks   = ["good"]
[zones.lan]
prefixes = ["10.0.0.0/8"]
[sources.in]
plugin = "events"
[sinks.good]
plugin = "fake"
[service]
drain = "5s"
`

// TestFeed runs a pipeline whose only source is one of events: names that are learned while it runs, sessions that a sink asks
// for, what was lost, and the account.
func TestFeed(t *testing.T) {
	r := newRig(t, true)
	r.events = newFakeEvents(t)
	flow := packet.Tuple{Proto: packet.ProtoUDP, Family: packet.IPv4, Src: packet.Addr{10, 0, 0, 1}, Dst: packet.Addr{192, 0, 2, 1}, SrcPort: 1, DstPort: 2}
	live := source.Event{What: source.Began, Flow: flow, Reply: flow.Reverse(), Session: 4, Created: 1e18, Kept: &source.Kept{Carried: true}}
	r.events.live = []source.Event{live}
	for i := range 20 {
		r.events.next <- source.Event{What: source.Denied, Flow: flow, Rule: &source.Rule{Name: fmt.Sprintf("rule-%d", i)}}
	}
	r.events.next <- live
	r.events.next <- source.Event{What: source.Lost, Lost: event.LossCounts{event.SessionClose: 3}, Created: 1, Time: 2}
	close(r.events.next)
	var rules []string
	listed, losses := 0, 0
	r.sinks["good"] = func(ctx context.Context, s sdk.Stream) error {
		for rec := range s.(sdk.SessionLister).Sessions() {
			if rec.SessionID() != 4 || s.Names(rec.Generation) == nil {
				t.Errorf("session %d of generation %d", rec.SessionID(), rec.Generation)
			}
			listed++
		}
		return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
			for i := range b.Records {
				rec := &b.Records[i]
				switch rec.Kind() {
				case event.PolicyDeny:
					n := s.Names(rec.Generation)
					rules = append(rules, n.Policy(rec.Policy()))
					if n.Generation != rec.Generation || n.Zone(rec.InZone()) != "lan" {
						t.Errorf("generation %d of a record of %d, zone %q", n.Generation, rec.Generation, n.Zone(rec.InZone()))
					}
				case event.Loss:
					losses++
				}
			}
			return b.Len(), nil
		}).Run(ctx, s)
	}
	pl := r.open(eventsConfig)
	if err := pl.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(rules) != 20 || rules[0] != "rule-0" || rules[19] != "rule-19" || listed != 1 || losses != 1 {
		t.Errorf("rules %q, %d sessions listed, %d losses", rules, listed, losses)
	}
	led := pl.Ledger()
	if led.Unread != 3 || led.Packets.Lost != 0 || led.Unaccounted != 0 || led.Events["policy-deny"].Offered != 20 {
		t.Errorf("ledger %+v", led)
	}
	if f := pl.Status().Feed; f["denied"] != 20 || f["began"] != 1 || f["lost"] != 1 {
		t.Errorf("feed %v", f)
	}
	if err := pl.Health(); err != nil {
		t.Errorf("health: %v", err)
	}
}
