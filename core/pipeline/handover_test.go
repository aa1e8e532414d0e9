package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// keptRun runs a pipeline with a state directory for a minute of virtual time, or until it is killed.
type keptRun struct {
	dir    string
	config string // twoSinks if empty
	boot   string
	flows  int
	base   uint32 // of the flows
	dead   bool   // the sink other takes nothing
	kills  bool   // it is killed when it has begun
	after  time.Duration
	open   error // of the source

	err     error // of Open
	epoch   uint64
	records []event.Record // that other got
	names   func(generation uint32) *event.Names
	ledger  metrics.Ledger
	status  Status
	log     string
}

func stateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (k *keptRun) run(t *testing.T) *keptRun {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(k.after) // clocks of all tests begin at the same moment
		r := newRig(t, true, &fakeQueue{flows: k.flows, base: k.base})
		r.openErr = k.open
		r.sinks["good"], r.sinks["new"] = deliverAll, deliverAll
		r.sinks["other"] = func(ctx context.Context, stream sdk.Stream) error {
			k.epoch, k.names = stream.Epoch(), stream.Names
			if k.dead {
				return errBroken
			}
			return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
				k.records = append(k.records, b.Records...)
				return b.Len(), nil
			}).Run(ctx, stream)
		}
		text := k.config
		if text == "" {
			text = twoSinks
		}
		plan := r.plan(text)
		state, err := OpenState(k.dir, slog.New(slog.NewTextHandler(&r.log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer state.Close()
		pl, err := Open(t.Context(), plan, Options{State: state, Boot: cmp.Or(k.boot, "boot")})
		if k.err = err; err != nil || k.kills {
			k.log = r.log.String()
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		time.Sleep(time.Second)
		k.status = pl.Status()
		time.Sleep(time.Minute - time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		k.ledger = checkP1(t, pl)
		k.log = r.log.String()
	})
	return k
}

// of returns how many records of a kind the sink other got.
func (k *keptRun) of(kind event.Kind) (n int) {
	for i := range k.records {
		if k.records[i].Kind() == kind {
			n++
		}
	}
	return n
}

// TestP5Restart stops a pipeline with a sink that takes nothing, and starts another: its stream goes on with the same epoch and the next
// number, what the ring held comes first, then a loss record for the time between; no session begins again; and each ends once.
func TestP5Restart(t *testing.T) {
	dir := stateDir(t)
	first := (&keptRun{dir: dir, flows: 50, dead: true}).run(t)
	if q := first.ledger.Sinks["other"]["session-open"]; q.Kept != 50 || q.Abandoned != 0 || first.ledger.Sinks["good"]["session-open"].Acknowledged != 50 {
		t.Fatalf("at the stop: %+v\n%s", q, first.log)
	}
	second := (&keptRun{dir: dir, flows: 10, base: 1000, after: 30 * time.Second}).run(t)
	if second.epoch != first.epoch || second.status.Epoch != first.status.Epoch {
		t.Errorf("epoch %d behind %d; of the run %d behind %d", second.epoch, first.epoch, second.status.Epoch, first.status.Epoch)
	}
	ids := make(map[uint64]int)
	for i := range second.records {
		rec := &second.records[i]
		if rec.Seq() != event.Seq(i+1) {
			t.Fatalf("record %d has number %d", i+1, rec.Seq())
		}
		switch rec.Kind() {
		case event.SessionOpen:
			ids[rec.SessionID()]++
		case event.Loss:
			if i != 50 || rec.LossReason() != event.LossRestart || rec.Time() < rec.LossSince() {
				t.Errorf("record %d is a loss: %v from %d to %d", i+1, rec.LossReason(), rec.LossSince(), rec.Time())
			}
		}
	}
	if len(ids) != 60 || second.of(event.SessionOpen) != 60 || second.of(event.Loss) != 1 {
		t.Errorf("%d sessions, %d open records, %d losses\n%s", len(ids), second.of(event.SessionOpen), second.of(event.Loss), second.log)
	}
	if s := second.ledger.Sessions; s.TakenOver != 50 || s.Created != 10 {
		t.Errorf("sessions: %+v", s)
	}
	if got := second.status.TakenOver; got == nil || got.Sessions != 50 || got.Records != 50 || second.ledger.Sinks["other"]["session-open"].TakenOver != 50 {
		t.Errorf("taken over: %+v", got)
	}
	// The first run's sessions end by their timeout in the second or the third, once.
	third := (&keptRun{dir: dir, after: 4 * time.Minute}).run(t)
	closes := second.of(event.SessionClose) + third.of(event.SessionClose)
	if closes != 60 || third.of(event.SessionOpen) != 0 || third.epoch != first.epoch || third.records[0].Seq() != second.records[len(second.records)-1].Seq()+1 {
		t.Errorf("%d close records, then %d open, epoch %d, first number %d", closes, third.of(event.SessionOpen), third.epoch, third.records[0].Seq())
	}
}

// TestStateUsedOnce kills a run that has taken over the state: the next one begins anew, in another epoch, and announces what was held.
func TestStateUsedOnce(t *testing.T) {
	dir := stateDir(t)
	first := (&keptRun{dir: dir, flows: 50, dead: true}).run(t)
	if killed := (&keptRun{dir: dir, kills: true}).run(t); !strings.Contains(killed.log, "going on where the last run stopped") {
		t.Errorf("nothing was taken over:\n%s", killed.log)
	}
	next := (&keptRun{dir: dir, flows: 5}).run(t)
	if next.epoch <= first.epoch || len(next.records) == 0 || next.records[0].LossReason() != event.LossAbandoned {
		t.Fatalf("epoch %d behind %d, %d records", next.epoch, first.epoch, len(next.records))
	}
	if lost := next.records[0].LossCounts(); next.records[0].Seq() != 1 || lost[event.SessionOpen] != 50 {
		t.Errorf("record %d announces %v", next.records[0].Seq(), lost)
	}
}

// TestStatePutBack fails to open the sources: the next run takes over what was kept.
func TestStatePutBack(t *testing.T) {
	dir := stateDir(t)
	first := (&keptRun{dir: dir, flows: 50, dead: true}).run(t)
	if failed := (&keptRun{dir: dir, open: errBroken}).run(t); failed.err == nil {
		t.Error("opened")
	}
	if next := (&keptRun{dir: dir}).run(t); next.epoch != first.epoch || next.of(event.SessionOpen) != 50 {
		t.Errorf("epoch %d behind %d, %d records\n%s", next.epoch, first.epoch, len(next.records), next.log)
	}
}

// TestStateUnused changes what is kept so that it must not be used: it is put aside whole, the run begins anew and announces what is lost.
func TestStateUnused(t *testing.T) {
	for _, c := range []struct {
		name, boot, why string
		after           time.Duration
		change          func(b []byte) []byte
	}{
		{name: "another boot", boot: "another", why: "the machine was started since"},
		{name: "too old", after: 25 * time.Hour, why: "24h0m0s are allowed"},
		{name: "cut off", change: func(b []byte) []byte { return b[:len(b)-1] }, why: "cut off"},
		{name: "empty", change: func([]byte) []byte { return nil }, why: "cut off"},
		{name: "longer", change: func(b []byte) []byte { return append(b, 0) }, why: "behind the last frame"},
		{name: "a changed bit", change: func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, why: "checksum"},
		{name: "another layout", change: func(b []byte) []byte { b[11]++; return b }, why: "another layout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := stateDir(t)
			first := (&keptRun{dir: dir, flows: 50, dead: true}).run(t)
			path := filepath.Join(dir, "kept")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				b = c.change(slices.Clone(b))
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			next := (&keptRun{dir: dir, boot: c.boot, after: c.after}).run(t)
			if next.epoch <= first.epoch || len(next.records) != 1 || next.records[0].LossReason() != event.LossAbandoned || next.ledger.Sessions.TakenOver != 0 {
				t.Errorf("epoch %d behind %d, %d records, sessions %+v", next.epoch, first.epoch, len(next.records), next.ledger.Sessions)
			}
			if aside, err := os.ReadFile(path + ".unused"); err != nil || !bytes.Equal(aside, b) {
				t.Errorf("it is not kept aside: %v", err)
			}
			if !strings.Contains(next.status.StateUnused, c.why) || !strings.Contains(next.log, "put aside") {
				t.Errorf("the status says %q, want %q; the log:\n%s", next.status.StateUnused, c.why, next.log)
			}
		})
	}
}

// TestRestartChanged changes the configuration between two runs: a sink is new, one is gone, zones have other ids, a zone is gone, and the
// table and the ring are smaller.
func TestRestartChanged(t *testing.T) {
	zones := `
[zones]
a.prefixes = ["10.0.0.0/27"]
b.prefixes = ["10.0.0.32/27"]
c.prefixes = ["198.51.100.0/24"]
`
	dir := stateDir(t)
	before := (&keptRun{dir: dir, config: twoSinks + zones, flows: 64, dead: true}).run(t)
	text := strings.NewReplacer("good", "new", "slots     = 128", "slots     = 64", "= 96", "= 32").Replace(twoSinks) + `
[zones]
aa.prefixes = ["10.1.0.0/16"]
b.prefixes = ["10.0.0.32/27"]
c.prefixes = ["198.51.100.0/24"]
`
	after := (&keptRun{dir: dir, config: text, after: 2 * time.Minute}).run(t)
	if after.epoch != before.epoch || after.status.Sinks["new"].Epoch <= before.epoch {
		t.Errorf("epochs %d behind %d, and %+v\n%s", after.epoch, before.epoch, after.status.Sinks["new"], after.log)
	}
	if n := after.ledger.Sinks["new"]["session-close"].Acknowledged; n < 32 {
		t.Errorf("the new sink got %d close records", n)
	}
	opens, closes := make(map[string]int), make(map[string]int)
	for i := range after.records {
		rec := &after.records[i]
		in := after.names(rec.Generation).Zone(rec.InZone())
		switch rec.Kind() {
		case event.SessionOpen:
			opens[in]++
		case event.SessionClose:
			closes[in]++
			if gone := rec.CloseReason() == event.ClosePolicy; gone != (in == "") {
				t.Errorf("a session from %q is closed for %d", in, rec.CloseReason())
			}
		}
	}
	if opens["a"] != 32 || opens["b"] != 32 || closes[""] != 32 || closes["b"] > 32 || closes["a"] != 0 {
		t.Errorf("opened from %v, closed from %v", opens, closes)
	}
}

// TestRestartSinkGone takes a sink out of the configuration: what it held is told when it is back, as given up.
func TestRestartSinkGone(t *testing.T) {
	dir := stateDir(t)
	first := (&keptRun{dir: dir, flows: 50, dead: true}).run(t)
	without := (&keptRun{dir: dir, config: strings.NewReplacer("\"other\"", "\"new\"", "sinks.other", "sinks.new").Replace(twoSinks)}).run(t)
	if !strings.Contains(without.log, "records of a sink that is not configured any more are given up") {
		t.Errorf("nobody was told:\n%s", without.log)
	}
	again := (&keptRun{dir: dir}).run(t)
	if again.epoch <= first.epoch || len(again.records) == 0 || again.records[0].LossReason() != event.LossAbandoned {
		t.Fatalf("epoch %d behind %d, %d records", again.epoch, first.epoch, len(again.records))
	}
	if lost := again.records[0].LossCounts(); lost[event.SessionOpen] != 50 {
		t.Errorf("announced: %v", lost)
	}
}

// TestRestartSameFlows carries packets of sessions that were taken over, twice: they belong to them.
func TestRestartSameFlows(t *testing.T) {
	dir := stateDir(t)
	long := twoSinks + "[sessions]\nudp_timeout = \"1h\"\n"
	(&keptRun{dir: dir, config: long, flows: 50}).run(t)
	for i := range 3 {
		k := (&keptRun{dir: dir, config: long, flows: 50 * (i % 2), after: time.Duration(i+1) * time.Minute}).run(t)
		if s := k.ledger.Sessions; s.TakenOver != 50 || s.Created != 0 || s.Active != 50 {
			t.Errorf("run %d: %+v", i+2, s)
		}
	}
}

// TestRestartOtherZones moves the prefix of sessions from one zone to another between two runs, where zones tell sessions apart: their
// packets belong to them.
func TestRestartOtherZones(t *testing.T) {
	dir := stateDir(t)
	text := twoSinks + "[sessions]\nudp_timeout = \"1h\"\nseparate = \"zone\"\n"
	one := text + "[zones]\na.prefixes = [\"10.0.0.0/8\"]\nb.prefixes = [\"192.0.2.0/24\"]\n"
	other := text + "[zones]\na.prefixes = [\"192.0.2.0/24\"]\nb.prefixes = [\"10.0.0.0/8\"]\n"
	(&keptRun{dir: dir, config: one, flows: 50}).run(t)
	for i, config := range []string{one, other, other, one} {
		k := (&keptRun{dir: dir, config: config, flows: 50, after: time.Duration(i+1) * time.Minute}).run(t)
		if s := k.ledger.Sessions; s.TakenOver != 50 || s.Created != 0 || s.Active != 50 {
			t.Errorf("run %d: %+v", i+2, s)
		}
	}
}
