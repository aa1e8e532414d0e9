package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/statedir"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// stateRun runs a pipeline with a state directory for a minute of virtual time, which begins at the same moment in every
// run: to the runs behind the first the clock was set back.
type stateRun struct {
	dir     string
	flows   int
	dead    bool // the sink other never takes anything
	kills   bool // it ends without giving up anything, as when it is killed
	boot    string
	epoch   uint64
	losses  []event.Record // that other got
	opens   uint64         // session-open records that other got
	offered uint64
	first   event.Kind        // kind of the first record
	before  map[string]uint64 // what metrics say that earlier runs gave up for other
	log     string
}

func (s *stateRun) run(t *testing.T) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, &fakeQueue{flows: s.flows})
		r.sinks["good"] = deliverAll
		first := true
		r.sinks["other"] = func(ctx context.Context, stream sdk.Stream) error {
			s.epoch = stream.Epoch()
			if s.dead {
				return errBroken
			}
			return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
				for _, rec := range b.Records {
					if first {
						first, s.first = false, rec.Kind()
					}
					switch rec.Kind() {
					case event.Loss:
						s.losses = append(s.losses, rec)
					case event.SessionOpen:
						s.opens++
					}
				}
				return b.Len(), nil
			}).Run(ctx, stream)
		}
		plan := r.plan(twoSinks)
		state, err := OpenState(s.dir, slog.New(slog.NewTextHandler(&r.log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := state.Close(); err != nil {
				t.Error(err)
			}
		}()
		pl, err := Open(t.Context(), plan, Options{State: state, Boot: s.boot})
		if err != nil {
			t.Fatal(err)
		}
		if s.kills {
			return
		}
		s.before = givenUpBefore(t, pl, "other")
		if good := givenUpBefore(t, pl, "good"); total(good) != 0 {
			t.Errorf("good has given up nothing, metrics show %v", good)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if now := givenUpBefore(t, pl, "other"); !maps.Equal(now, s.before) {
			t.Errorf("given up before this run: %v at its start, %v at its end", s.before, now)
		}
		l := checkP1(t, pl)
		s.offered = l.Events[event.SessionOpen.String()].Offered
		s.log = r.log.String()
	})
}

// givenUpBefore returns what metrics show that earlier runs gave up for a sink: every kind but losses, zeros too. The status
// shows the same without the zeros.
func givenUpBefore(t *testing.T, pl *Pipeline, sink string) map[string]uint64 {
	t.Helper()
	shown := pl.Snapshot().Sinks[sink].GivenUpBefore
	status := pl.Status().Sinks[sink].GivenUpBefore
	for _, k := range event.Kinds() {
		n, ok := shown[k.String()]
		if ok != (k != event.Loss) {
			t.Errorf("sink %s, kind %v: shown is %v", sink, k, ok)
		}
		if in, ok := status[k.String()]; ok != (n > 0) || in != n {
			t.Errorf("sink %s, kind %v: metrics show %d, the status %d", sink, k, n, in)
		}
	}
	return shown
}

func total(events map[string]uint64) (sum uint64) {
	for _, n := range events {
		sum += n
	}
	return sum
}

// TestP5AccountAcrossRestart stops a pipeline with a sink that takes nothing, and starts the machine: the next run's stream begins with a loss record
// that counts what was given up, held and refused, and it is told once. Metrics and status of the run show the same counts.
func TestP5AccountAcrossRestart(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	first := stateRun{dir: dir, flows: 200, dead: true, boot: "first"}
	first.run(t)
	again := stateRun{dir: dir, flows: 50, dead: true, boot: "second"} // it cannot announce it either
	again.run(t)
	(&stateRun{dir: dir, kills: true, boot: "third"}).run(t) // nor can this one
	third := stateRun{dir: dir, flows: 5, boot: "fourth"}
	third.run(t)
	if third.epoch <= again.epoch || again.epoch <= first.epoch {
		t.Errorf("epochs %d, %d, %d", first.epoch, again.epoch, third.epoch)
	}
	if len(third.losses) != 1 || third.first != event.Loss {
		t.Fatalf("%d loss records, the first record is %v\n%s", len(third.losses), third.first, third.log)
	}
	rec := third.losses[0]
	counts := rec.LossCounts()
	if got, want := counts[event.SessionOpen], first.offered+again.offered; rec.Seq() != 1 || rec.LossReason() != event.LossAbandoned || got != want {
		t.Errorf("record %d: %d sessions %v, want %d", rec.Seq(), got, rec.LossReason(), want)
	}
	if total(first.before) != 0 || again.before["session-open"] != first.offered {
		t.Errorf("given up before: metrics of the first run show %v, of the second %v, want %d sessions", first.before, again.before, first.offered)
	}
	for k, n := range counts {
		if kind := event.Kind(k); kind != event.Loss && third.before[kind.String()] != n {
			t.Errorf("%v: metrics show %d, the loss record %d", kind, third.before[kind.String()], n)
		}
	}
	if since, until := rec.LossSince(), rec.Time(); since <= 0 || until < since {
		t.Errorf("from %d to %d", since, until)
	}
	last := stateRun{dir: dir, flows: 1, boot: "fifth"}
	last.run(t)
	if len(last.losses) != 0 {
		t.Errorf("%d loss records of what was told", len(last.losses))
	}
	if total(last.before) != 0 {
		t.Errorf("metrics show %v of what was told", last.before)
	}
}

// TestAccountOfASinkThatIsGone keeps what a sink has given up until it is configured again.
func TestAccountOfASinkThatIsGone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	want := statedir.Losses{"old": {Since: 1, Until: 2, Events: map[string]uint64{"policy-deny": 3}}}
	d, err := statedir.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteLosses(want); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	s := stateRun{dir: dir, flows: 100, dead: true}
	s.run(t)
	if d, err = statedir.Open(dir, nil); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := d.Losses()
	if err != nil || got["old"].Events["policy-deny"] != 3 || got["other"].Events["session-open"] != s.offered {
		t.Errorf("%v, %v", got, err)
	}
}

// TestNoState checks that a run without a state directory says that nothing will be announced.
func TestNoState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, &fakeQueue{flows: 10})
		r.sinks["good"] = deliverAll
		r.sinks["other"] = func(context.Context, sdk.Stream) error { return errBroken }
		pl := r.open(twoSinks)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !strings.Contains(r.log.String(), "service.state is not set") {
			t.Errorf("nobody was told:\n%s", r.log.String())
		}
	})
}

// TestLossesThatCannotBeNoted stops a pipeline whose directory takes no account: the log does not promise that the next run announces it.
func TestLossesThatCannotBeNoted(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o700), os.Mkdir(filepath.Join(dir, ".losses.json.unfinished"), 0o700)); err != nil {
		t.Fatal(err)
	}
	r := stateRun{dir: dir, flows: 5, dead: true, boot: "first"}
	r.run(t)
	if !strings.Contains(r.log, "the next run will not announce it") || strings.Contains(r.log, "the next run will announce") {
		t.Errorf("the log says\n%s", r.log)
	}
}

// TestEpochsWithBadState opens pipelines at the same moment of virtual time while the state directory fails: an epoch is used once,
// or the pipeline is not opened.
func TestEpochsWithBadState(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	open := func(fail, mend func() error) (epoch uint64, err error) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, true, &fakeQueue{})
			r.sinks["good"], r.sinks["other"] = deliverAll, deliverAll
			plan := r.plan(twoSinks)
			state, openErr := OpenState(dir, slog.New(slog.NewTextHandler(&r.log, nil)))
			if openErr != nil {
				t.Fatal(openErr)
			}
			defer state.Close()
			if err := fail(); err != nil {
				t.Fatal(err)
			}
			var pl *Pipeline
			pl, err = Open(t.Context(), plan, Options{State: state})
			if err := mend(); err != nil {
				t.Fatal(err)
			}
			if err == nil {
				epoch = pl.epoch
			}
		})
		return epoch, err
	}
	nothing := func() error { return nil }
	first, err := open(nothing, nothing)
	if err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(dir, ".epoch.unfinished")
	second, err := open(func() error { return os.Mkdir(blocked, 0o700) }, func() error { return os.Remove(blocked) })
	if err != nil || second < first+2 {
		t.Errorf("where the epoch cannot be noted it is %d behind %d, %v", second, first, err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	_, err = open(
		func() error { return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Max: limit.Max}) },
		func() error { return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) },
	)
	if !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "service.state: what the last run has kept") {
		t.Errorf("where the epochs cannot be read: %v", err)
	}
}

// TestEpochs checks that no two sinks have the same epoch: their numbers would name each other's records.
func TestEpochs(t *testing.T) {
	r := newRig(t, true, &fakeQueue{})
	r.sinks["good"], r.sinks["other"] = deliverAll, deliverAll
	st := r.open(twoSinks).Status()
	if a, b := st.Sinks["good"].Epoch, st.Sinks["other"].Epoch; a == b || a == 0 {
		t.Errorf("epochs %d and %d", a, b)
	}
}
