package pipeline

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
)

// lateFrames is a source of two queues: the worker of one makes progress until it is told to end, and then hangs. The other one ends.
type lateFrames struct {
	*fakeSource

	wake  chan struct{}
	other *fakeQueue
}

func (s *lateFrames) Queues() []source.FrameSource {
	return []source.FrameSource{lateQueue{s.wake}, s.other}
}

type lateQueue struct{ wake chan struct{} }

func (q lateQueue) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	select {
	case <-ctx.Done():
		<-q.wake
	case <-time.After(timeout + time.Millisecond): // not when somebody looks
	}
	b.Now, b.Wall = 1, time.Now().UnixNano()
	return nil
}

func (lateQueue) Release() {}

// TestReloadLateHang has a worker hang when it is told to end, after it was found to make progress: the reload is refused in time, and nothing
// is changed. What has ended with it is read again, and so is its queue when it does not hang any more.
func TestReloadLateHang(t *testing.T) {
	for name, sources := range map[string][]string{
		"it is removed":                    {"a", "b"},
		"it has other options":             {"a", `late ring = 1`, "b"},
		"another source has other options": {"a ring = 1", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newSourcesRig(t)
				r.frames("a", 1<<20, 10)
				late := &lateFrames{r.frames("late", 2<<20), make(chan struct{}), &fakeQueue{base: 4 << 20, flows: 5}}
				r.made["late"] = late
				b := r.frames("b", 3<<20, 10)
				pl := runPlan(t, r.plan("a", "late"))
				time.Sleep(2 * time.Second)
				before, begin := pl.readers.Load(), time.Now()
				_, err := pl.Reload(r.plan(sources...))
				const want = "sources.late cannot be closed: worker 1, which reads it, was told to end, and has not for 10s: a restart ends it"
				if err == nil || !strings.HasPrefix(err.Error(), want) || time.Since(begin) > 2*stuckAfter {
					t.Errorf("after %v: %v, want %s", time.Since(begin), err, want)
				}
				now := pl.readers.Load()
				if c := pl.Status().Configuration; late.closed.Load() || !b.closed.Load() || c.Number != 1 || len(now.sources) != 2 || len(now.workers) != 3 {
					t.Errorf("configuration %+v; closed: %v, %v", c, late.closed.Load(), b.closed.Load())
				}
				late.other.more.Store(5)
				for range 15 {
					time.Sleep(time.Second)
					err = pl.Health()
				}
				if err == nil || !strings.HasPrefix(err.Error(), "the worker 1 has made no progress") || pl.Ledger().Packets.Received != 20 {
					t.Errorf("health %v; %+v", err, pl.Ledger().Packets)
				}
				close(late.wake)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if err := pl.Health(); err != nil || !strings.Contains(r.log.String(), `what is still configured goes on in its place" what="worker 1"`) {
					t.Errorf("health %v; log %s", err, r.log.String())
				}
				workers := pl.readers.Load().workers
				var beats []uint64
				for _, w := range workers {
					beats = append(beats, w.Beats())
				}
				time.Sleep(10 * time.Second)
				for i, w := range workers {
					if w.Beats() < beats[i]+5 {
						t.Errorf("%s is not read", w.loop.name)
					}
				}
				if len(workers) != len(before.workers) || pl.lanes > 4 {
					t.Errorf("%d workers, %d lanes", len(workers), pl.lanes)
				}
				if _, err := pl.Reload(r.plan("a")); err != nil || !late.closed.Load() {
					t.Errorf("%v; closed: %v", err, late.closed.Load())
				}
				pl.end()
			})
		})
	}
}

// TestStopLateHang stops a pipeline while a worker hangs that a refused reload has told to end: it is over when that ends.
func TestStopLateHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSourcesRig(t)
		late := &lateFrames{r.frames("late", 2<<20), make(chan struct{}), &fakeQueue{}}
		r.made["late"] = late
		r.frames("a", 1<<20, 10)
		pl := runPlan(t, r.plan("late"))
		time.Sleep(2 * time.Second)
		if _, err := pl.Reload(r.plan("a")); err == nil {
			t.Error("it is taken over")
		}
		pl.stop()
		synctest.Wait()
		close(late.wake)
		pl.end()
		if !late.closed.Load() {
			t.Error("the source is not closed")
		}
	})
}

// TestReviveFeed replaces a feed that was told to end in vain: what it has counted goes on.
func TestReviveFeed(t *testing.T) {
	r := newSourcesRig(t)
	one := &keepingEvents{fakeEvents: newFakeEvents(t)}
	r.made["one"] = one
	pl := runPlan(t, r.plan("one"))
	told := func(total uint64) {
		t.Helper()
		one.next <- source.Event{What: source.Denied, Rule: &source.Rule{Name: "rule"}}
		for end := time.Now().Add(time.Minute); pl.Status().Feed["denied"] != total; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("feed %v, want %d denied", pl.Status().Feed, total)
			}
		}
	}
	told(1)
	pl.reloading.Lock()
	pl.hold()
	former := pl.readers.Load().feed
	former.loop.told = true
	former.loop.stop()
	pl.revive() // it may have ended, or end soon
	pl.release()
	pl.reloading.Unlock()
	for end := time.Now().Add(time.Minute); pl.readers.Load().feed == former && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	told(2)
	if now := pl.readers.Load().feed; now == former || now.lane != former.lane {
		t.Error("it is the same feed, or has another lane")
	}
	pl.end()
}
