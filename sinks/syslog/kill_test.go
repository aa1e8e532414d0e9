package syslog

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/collectors"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// rig is a sink behind a real ring and a real delivery, fed as fast as the ring takes records.
type rig struct {
	tb       testing.TB
	ring     *replay.Ring
	delivery *deliver.Delivery
	stopFeed context.CancelFunc
	feeding  sync.WaitGroup
	running  sync.WaitGroup
	stop     context.CancelFunc
	fed      int // records, when the feeding has ended
}

func newRig(tb testing.TB, sink *Sink) *rig {
	tb.Helper()
	ring, err := replay.New(replay.Limits{Slots: 4096, Telemetry: 2048, PerKind: 1024})
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{tb: tb, ring: ring}
	r.delivery = deliver.New(deliver.Config{
		Name: "sink", Sink: sink, Ring: ring, Epoch: 1, Log: slog.New(slog.DiscardHandler),
		Names: func(uint32) *event.Names { return sinktest.Names() },
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	r.running.Go(func() { r.delivery.Run(ctx) })
	feedCtx, stopFeed := context.WithCancel(ctx)
	r.stopFeed = stopFeed
	r.feeding.Go(func() { r.feed(feedCtx) })
	tb.Cleanup(func() { stopFeed(); r.feeding.Wait(); cancel(); r.running.Wait() })
	return r
}

// feed appends numbered records until ctx ends.
func (r *rig) feed(ctx context.Context) {
	for ctx.Err() == nil {
		room := r.ring.Room()
		n := r.ring.Acquire(replay.Priority, 64)
		if n == 0 {
			select {
			case <-room:
			case <-ctx.Done():
			}
			continue
		}
		pos := r.ring.Claim(n)
		for i := range n {
			rec := record(uint64(r.fed))
			r.fed++
			r.ring.Put(pos+event.Seq(i), replay.Priority, &rec)
		}
		r.ring.Wake()
	}
}

func record(i uint64) event.Record {
	rec := sinktest.Record(event.SessionOpen, i%1000)
	rec.SetSessionID(i + 1)
	return rec
}

// finish stops feeding and waits until everything is delivered. It returns how many records there were.
func (r *rig) finish() int {
	r.tb.Helper()
	r.stopFeed()
	r.feeding.Wait()
	r.ring.Drain()
	done := make(chan struct{})
	go func() { r.running.Wait(); close(done) }()
	late := time.NewTimer(await.Patience)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		r.tb.Fatalf("not delivered: %+v, %+v", r.ring.State(), r.delivery.Status())
	}
	st := r.ring.State()
	if got := st.Released.Acknowledged[event.SessionOpen]; got != uint64(r.fed) || st.InFlight[event.SessionOpen] != 0 {
		r.tb.Errorf("the ledger: %d acknowledged and %d in flight of %d", got, st.InFlight[event.SessionOpen], r.fed)
	}
	return r.fed
}

func (r *rig) acknowledged() int { return int(r.ring.State().Released.Acknowledged[event.SessionOpen]) }

// arrived reads which records a collector has, in order of arrival, as numbers from 0.
func arrived(tb testing.TB, c *realCollector) (list []int) {
	tb.Helper()
	const before = `"session-id-32": "`
	for _, line := range c.Lines("out") {
		_, rest, ok := strings.Cut(line, before)
		if !ok {
			continue // torn by the kill
		}
		digits, _, _ := strings.Cut(rest, `"`)
		n, err := strconv.Atoi(digits)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, n-1)
	}
	return list
}

// account compares what arrived with what was sent.
func account(tb testing.TB, got []int, n int) (lost []int, repeated int) {
	tb.Helper()
	times := make([]int, n)
	for _, i := range got {
		if i < 0 || i >= n {
			tb.Fatalf("record %d was never sent", i)
		}
		times[i]++
	}
	for i, k := range times {
		if k == 0 {
			lost = append(lost, i)
		} else {
			repeated += k - 1
		}
	}
	return lost, repeated
}

// sizeOf returns how many bytes of TCP those records take.
func sizeOf(tb testing.TB, list []int) (bytes int) {
	tb.Helper()
	for _, i := range list {
		m := want(tb, format.Options{}, 1, record(uint64(i)))[0]
		bytes += len(strconv.Itoa(len(m))) + 1 + len(m)
	}
	return bytes
}

// manyKills is how often a collector is killed.
func manyKills() int {
	if testing.Short() {
		return 5
	}
	return 20
}

// TestKillRELP kills rsyslogd many times while records come as fast as they can: nothing is lost, and no more than the window
// comes twice each time.
func TestKillRELP(t *testing.T) {
	t.Parallel()
	const window = 200
	kills := manyKills()
	c := rsyslogRELP(t)
	c.start()
	sink := newTestSink(t, "window = 200", c.address)
	r := newRig(t, sink)
	for range kills {
		before := r.acknowledged()
		await.Until(t, "records are acknowledged", func() bool { return r.acknowledged() > before+1000 })
		c.Kill()
		c.start()
	}
	n := r.finish()
	lost, repeated := account(t, arrived(t, c), n)
	t.Logf("%d records, %d lost, %d twice", n, len(lost), repeated)
	if len(lost) > 0 || repeated > kills*window {
		t.Errorf("%d records: lost %v, %d twice", n, lost, repeated)
	}
}

// TestKillTCP does the same over TCP and TLS. What the collector had not read when it was killed is lost, and nothing else:
// the test measures that while the collector stands still, and says how much it was.
func TestKillTCP(t *testing.T) {
	for name, make := range map[string]func(testing.TB) *realCollector{
		"tcp": func(tb testing.TB) *realCollector {
			return rsyslogWith(tb, "tcp", `module(load="imptcp") input(type="imptcp" port="PORT" address="127.0.0.1")`, "")
		},
		"tls": rsyslogAnonymousTLS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kills := manyKills() / 2
			// What rsyslogd has read and not processed: a buffer of 128 KiB, and a TLS record.
			const inProcess = 128<<10 + 16<<10
			collectors.Require(t)
			c := make(t)
			c.start()
			// A rsyslogd that has just begun leaves a handshake unanswered now and then.
			r := newRig(t, newTestSink(t, c.more+"\nconnect_timeout = \"1s\"", c.address))
			unread := 0
			for range kills {
				before := r.acknowledged()
				await.Until(t, "records are acknowledged", func() bool { return r.acknowledged() > before+1000 })
				c.Signal(syscall.SIGSTOP)
				unread += settled(t, c.port)
				c.Kill()
				c.start()
			}
			n := r.finish()
			await.Until(t, "the last record", func() bool { got := arrived(t, c); return len(got) > 0 && got[len(got)-1] == n-1 })
			lost, repeated := account(t, arrived(t, c), n)
			bytes := sizeOf(t, lost)
			t.Logf("%d records, %d lost in %d kills: %d bytes, of %d that the collector had not read; %d twice",
				n, len(lost), kills, bytes, unread, repeated)
			if bytes > unread+kills*inProcess {
				t.Errorf("%d bytes are lost, and the collector had not read %d", bytes, unread)
			}
		})
	}
}

// settled waits until the receive queue of a collector that stands still is full, and returns its size.
func settled(tb testing.TB, port string) int {
	tb.Helper()
	last, still := -1, 0
	await.Until(tb, "the receive queue is full", func() bool {
		if now := collectors.Unread(port); now != last {
			last, still = now, 0
		}
		still++
		return still > 25
	})
	return last
}

// TestStop stops the collector for so long that the sink gives up several connections, and lets it go on. RELP loses
// nothing; TCP and TLS lose at most what was acknowledged in that time.
func TestStop(t *testing.T) {
	for name, make := range map[string]func(testing.TB) *realCollector{
		"relp": rsyslogRELP,
		"tls":  rsyslogAnonymousTLS,
		"tcp": func(tb testing.TB) *realCollector {
			return rsyslogWith(tb, "tcp", `module(load="imptcp") input(type="imptcp" port="PORT" address="127.0.0.1")`, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			collectors.Require(t)
			c := make(t)
			c.start()
			const window = 200
			more := "window = 200\nwrite_timeout = \"300ms\"\nuser_timeout = \"300ms\"\nconnect_timeout = \"300ms\""
			sink := newTestSink(t, more+"\n"+c.more, c.address)
			r := newRig(t, sink)
			await.Until(t, "records are acknowledged", func() bool { return r.acknowledged() > 1000 })
			c.Signal(syscall.SIGSTOP)
			before := r.acknowledged()
			await.Until(t, "connections are given up", func() bool {
				return sink.counts.disconnects.Load()+sink.counts.connectErrors.Load() >= 3
			})
			meanwhile := r.acknowledged() - before
			c.Signal(syscall.SIGCONT)
			after := r.acknowledged()
			await.Until(t, "records are acknowledged again", func() bool { return r.acknowledged() > after+1000 })
			n := r.finish()
			await.Until(t, "the last record", func() bool { return slices.Contains(arrived(t, c), n-1) })
			lost, repeated := account(t, arrived(t, c), n)
			t.Logf("%d records, %d lost, %d acknowledged while the collector stood still, %d twice", n, len(lost), meanwhile, repeated)
			if name == "relp" {
				if len(lost) > 0 || meanwhile > window { // answers that were on their way
					t.Errorf("%d records: %d lost, %d acknowledged while the collector stood still", n, len(lost), meanwhile)
				}
			} else if len(lost) > meanwhile {
				t.Errorf("%d records: %d lost, %d acknowledged while the collector stood still", n, len(lost), meanwhile)
			}
		})
	}
}
