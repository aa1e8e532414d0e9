package pipeline

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

// away changes options of source a, which can then be opened neither with these nor as it was.
func (r *reopening) away(pl *running, sources ...string) {
	r.t.Helper()
	r.setBroken("a 0", "a 5")
	if _, err := pl.Reload(r.plan(sources...)); err == nil || !strings.Contains(err.Error(), "nor can it be opened as it was") {
		r.t.Fatal(err)
	}
	r.noted()
}

// TestAwayComesBack opens a source again by itself that a reload has closed: after pauses that grow, and the status, the log and the health say
// so until then.
func TestAwayComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"], r.flows["b"] = []int{5, 5}, []int{20}
		pl := r.run("a", "b")
		time.Sleep(3 * time.Second)
		r.away(pl, "a ring = 5", "b")
		before := pl.readers.Load().workers
		time.Sleep(10 * time.Minute)
		tries := strings.Count(r.noted(), "!a 0")
		if tries < 10 || tries > 25 {
			t.Errorf("%d attempts in 10 minutes", tries)
		}
		st, ok := pl.Status().Sources["a"].(AwayStatus)
		if !ok || st.Open || st.Attempts != tries+1 || !strings.Contains(st.Error, errBroken.Error()) || pl.Snapshot().SourceOpen["a"] {
			t.Errorf("status %+v after %d attempts", st, tries)
		}
		if err := pl.Losses(); err == nil || !strings.Contains(err.Error(), "source a") {
			t.Errorf("health: %v", err)
		}
		if n := strings.Count(r.log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%d lines tell of the same error:\n%s", n, r.log.String())
		}
		r.setBroken()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if done := r.noted(); done != "+a 0" {
			t.Errorf("done: %s", done)
		}
		if p := pl.Ledger().Packets; p.Received-p.Offloaded != 40 || pl.Losses() != nil || !pl.Snapshot().SourceOpen["a"] {
			t.Errorf("%+v, health %v", p, pl.Losses())
		}
		if !strings.Contains(r.log.String(), `level=WARN msg="a source that could not be opened is open, as it was`) {
			t.Errorf("log: %s", r.log.String())
		}
		if c := pl.Status().Configuration; c.Number != 1 {
			t.Errorf("configuration %+v", c)
		}
		if now := pl.readers.Load().workers; now[0] != before[0] {
			t.Error("another source was touched")
		}
		// The next time is as the first.
		r.away(pl, "a ring = 5", "b")
		r.setBroken()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if done := r.noted(); done != "+a 0" {
			t.Errorf("done: %s", done)
		}
		pl.end()
	})
}

// TestAwayPair brings both sources of a bridge back, or none.
func TestAwayPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["c"] = []int{1}
		pl := r.run(`a peer = "b"`, `b peer = "a"`, "c")
		r.away(pl, `a peer = "b"; ring = 5`, `b peer = "a"`, "c")
		time.Sleep(5 * time.Second)
		if done := r.noted(); !strings.HasPrefix(done, "!a 0, +b 0, -b, ") || len(pl.readers.Load().sources) != 1 {
			t.Errorf("done: %s", done)
		}
		r.setBroken()
		time.Sleep(time.Minute)
		synctest.Wait()
		list := pl.readers.Load().sources
		if len(list) != 3 || list[0].opened.(*openedSource).peer != list[1].opened || list[1].opened.(*openedSource).peer != list[0].opened || pl.Losses() != nil {
			t.Errorf("%d sources, health %v", len(list), pl.Losses())
		}
		pl.end()
	})
}

// TestAwayWithMoreQueues leaves it to a reload to open a source that has more queues than the hooks have room for: it is not opened and closed
// again and again.
func TestAwayWithMoreQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"] = []int{1, 1}
		pl := r.run("a")
		r.away(pl, "a ring = 5")
		r.flows["a"] = []int{1, 1, 1}
		r.setBroken()
		time.Sleep(time.Hour)
		synctest.Wait()
		if done := r.noted(); done != "+a 0, -a" || !strings.Contains(r.log.String(), "each reload tries again") {
			t.Errorf("done: %s\n%s", done, r.log.String())
		}
		if _, err := pl.Reload(r.plan("a")); err != nil || pl.Losses() != nil {
			t.Errorf("%v, health %v", err, pl.Losses())
		}
		pl.end()
	})
}

// TestAwayPairWithMoreQueues leaves both sources of a bridge to a reload if one has more queues than the hooks have room for, and says so of both.
func TestAwayPairWithMoreQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["b"] = []int{1}
		pl := r.run(`a peer = "b"`, `b peer = "a"`)
		r.away(pl, `a peer = "b"; ring = 5`, `b peer = "a"`)
		r.flows["b"] = []int{1, 1}
		r.setBroken()
		time.Sleep(time.Hour)
		synctest.Wait()
		if done := r.noted(); done != "+a 0, +b 0, -b, -a" && done != "+a 0, +b 0, -a, -b" {
			t.Errorf("done: %s", done)
		}
		if n := strings.Count(r.log.String(), "each reload tries again"); n != 2 {
			t.Errorf("%d of 2 sources are left to a reload:\n%s", n, r.log.String())
		}
		if _, err := pl.Reload(r.plan(`a peer = "b"`, `b peer = "a"`)); err != nil || pl.Losses() != nil {
			t.Errorf("%v, health %v", err, pl.Losses())
		}
		pl.end()
	})
}

// TestAwayBesideAnother keeps a source that is left to a reload among those that are away, while another one is tried again and comes back.
func TestAwayBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"], r.flows["b"] = []int{1}, []int{1}
		pl := r.run("a", "b")
		r.setBroken("a 5", "a 0", "b 0")
		if _, err := pl.Reload(r.plan("a ring = 5", "b ring = 5")); err == nil {
			t.Error("it is taken over")
		}
		r.flows["a"] = []int{1, 1}
		r.setBroken("b 0")
		for _, away := range []int{2, 1} {
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			if err := pl.Losses(); len(pl.readers.Load().away) != away || err == nil || !strings.Contains(err.Error(), "source a: it has 2 queues now") {
				t.Errorf("%d sources are away, want %d; health %v", len(pl.readers.Load().away), away, err)
			}
			r.setBroken()
		}
		pl.end()
	})
}

// TestAwayBoth tries soon again when another source is away, too, however long one has been.
func TestAwayBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"], r.flows["b"] = []int{1}, []int{1}
		pl := r.run("a", "b")
		r.away(pl, "a ring = 5", "b")
		time.Sleep(time.Hour)
		if tries := strings.Count(r.noted(), "!a 0"); tries < 40 { // at most 90 s apart
			t.Errorf("%d attempts in an hour", tries)
		}
		r.setBroken("b 0", "b 5") // that of a is closed again, with the whole reload
		if _, err := pl.Reload(r.plan("a", "b ring = 5")); err == nil {
			t.Error("it is taken over")
		}
		r.noted()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if done := r.noted(); !strings.HasPrefix(done, "+a 0, !b 0") {
			t.Errorf("done in two seconds: %q", done)
		}
		pl.end()
	})
}

// TestAwayStop stops a pipeline of which a source is away, also while it is opened: what has been opened is closed.
func TestAwayStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"] = []int{1}
		pl := r.run("a")
		r.away(pl, "a ring = 5")
		opens := make(chan struct{})
		pl.reloading.Lock()
		r.during = func() {
			close(opens)
			<-pl.running.loops.ctx.Done()
		}
		pl.reloading.Unlock()
		r.setBroken()
		<-opens
		pl.stop()
		synctest.Wait()
		if done := r.noted(); done != "+a 0, -a" {
			t.Errorf("done: %s", done)
		}
		pl.end()
	})
}

// TestAwayTold has a source of sessions come back by itself, which goes on with what it has told of; or does not, and its sessions are lost.
func TestAwayTold(t *testing.T) {
	for _, refuse := range []error{nil, errBroken} {
		r := newReopening(t)
		next := &tellingSource{fakeEvents: newFakeEvents(t), refuse: refuse}
		r.made["told"] = &tellingSource{fakeEvents: newFakeEvents(t), knows: []byte("abc")}
		r.made["told 0"] = r.made["told"]
		r.flows["a"] = []int{1}
		pl := r.run("a", "told sessions = true")
		r.setBroken("told 5", "told 0")
		if _, err := pl.Reload(r.plan("a", "told sessions = true; ring = 5")); err == nil {
			t.Fatal("it is taken over")
		}
		r.made["told 0"] = next // nobody looks it up as long as it is broken
		r.setBroken()
		for pl.Losses() != nil { // or it has come back by itself
			pl.openAway()
		}
		var owed uint64
		for _, o := range pl.gate.Owed(0) {
			owed += o.Counts[event.SessionClose]
		}
		owed += pl.Ledger().Events["loss"].Admitted
		if got := string(next.took); got != "abc" || (owed > 0) != (refuse != nil) || pl.Losses() != nil {
			t.Errorf("%v: %q is taken over, %d are lost, health %v", refuse, got, owed, pl.Losses())
		}
		pl.end()
	}
}

// TestAwayCannotBeRead closes a source again that is open but cannot be read, since the loop that ages sessions meanwhile does not end.
func TestAwayCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"] = []int{1}
		pl := r.run("a")
		r.away(pl, "a ring = 5")
		synctest.Wait()
		ager := pl.readers.Load().workers[0]
		ended := ager.loop.ended
		pl.reloading.Lock()
		ager.loop.ended = make(chan struct{})
		pl.reloading.Unlock()
		r.setBroken()
		time.Sleep(stuckAfter + 2*time.Second)
		synctest.Wait()
		done := r.noted() // it may be open just now
		if !strings.HasPrefix(done, "+a 0, -a") || pl.Losses() == nil {
			t.Errorf("done: %s, health %v", done, pl.Losses())
		}
		<-ended
		close(ager.loop.ended)
		time.Sleep(time.Minute)
		synctest.Wait()
		if done += r.noted(); !strings.HasSuffix(done, "+a 0") || pl.Losses() != nil || len(pl.readers.Load().workers) != 1 {
			t.Errorf("done: %s, health %v", done, pl.Losses())
		}
		pl.end()
	})
}

// TestAwayErrors tells of another error of a source that is away, once.
func TestAwayErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"] = []int{1}
		pl := r.run("a")
		r.away(pl, "a ring = 5")
		pl.reloading.Lock()
		r.fails["a"] = errors.New("another reason")
		pl.reloading.Unlock()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := strings.Count(r.log.String(), `msg="a source still cannot be opened; it is tried again" source=a err="source a: another reason"`); n != 1 {
			t.Errorf("it is told %d times:\n%s", n, r.log.String())
		}
		pl.end()
	})
}
