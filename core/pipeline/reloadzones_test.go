package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// surveyor is a hook at all sites that finds out whether packets come in the zones that it knows.
type surveyor struct {
	zones *zone.Table
	wrong *atomic.Uint64
}

func (s *surveyor) look(p *hook.Packet) {
	if s.zones.ByPrefix(&p.Src, p.Family) != p.InZone {
		s.wrong.Add(1)
	}
}

func (s *surveyor) Inspect(p *hook.Packet, _ *hook.Finding) hook.Verdict {
	s.look(p)
	return hook.Pass
}

func (s *surveyor) Decide(p *hook.Packet, _ *hook.Permit, _ *hook.Finding) hook.Verdict {
	s.look(p)
	return hook.Pass
}

// Rematch implements [hook.Rematcher]: it denies half of the sessions.
func (s *surveyor) Rematch() func(p *hook.Packet) bool {
	return func(p *hook.Packet) bool { return p.Src[3]%2 == 0 }
}

func (s *surveyor) Denied(*hook.Packet, *hook.Finding) {}

// zoned is a configuration with those tables of zones.
func zoned(tables string) string {
	return "[pipeline]\nsources = [\"in\"]\nhooks = [\"look\"]\nsinks = [\"good\"]\n[sources.in]\nplugin = \"fake\"\n[hooks.look]\nplugin = \"surveyor\"\n" +
		"[sinks.good]\nplugin = \"fake\"\n[service]\ndrain = \"5s\"\n" + tables
}

// zonesRig is a rig with the hook surveyor.
type zonesRig struct {
	*rig
	wrong atomic.Uint64
}

func (r *zonesRig) plan(text string) *plan.Plan {
	r.t.Helper()
	reg := r.registry()
	reg.Hooks["surveyor"] = hook.Plugin{Name: "surveyor", Configure: func(_ sdk.Config, env hook.Env) hook.Instance {
		s := &surveyor{env.Zones, &r.wrong}
		return hook.Instance{Ingress: s, Session: s, Egress: s}
	}}
	file, problems := config.Parse("p.toml", []byte(text))
	p := plan.New(file, problems, plan.Options{Registry: reg, Log: slog.New(slog.DiscardHandler), Hostname: "host", ZoneIDs: r.ids})
	if err := problems.Err(); err != nil {
		r.t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// TestReloadZones changes zones one after another: names keep their ids, and ids their names, in whatever order the zones stand; sessions
// and records keep the zones that they had.
func TestReloadZones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{flows: 10}
		r := &zonesRig{rig: newRig(t, true, q)}
		began := make(map[string]int)
		r.sinks["good"] = func(ctx context.Context, s sdk.Stream) error {
			return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
				for i := range b.Records {
					if rec := &b.Records[i]; rec.Kind() == event.SessionOpen {
						began[s.Names(rec.Generation).Zone(rec.InZone())]++
					}
				}
				return b.Len(), nil
			}).Run(ctx, s)
		}
		pl := runPlan(t, r.plan(zoned("[zones.lan]\nprefixes = \"10.0.0.0/8\"\n[zones.wan]\nprefixes = \"0.0.0.0/0\"")))
		settle := func() {
			time.Sleep(3 * time.Second) // an idle worker looks up once a second
			synctest.Wait()
		}
		for i, c := range []struct {
			tables string
			ids    map[string]uint16
			began  string
		}{
			{"[zones.lan]\nprefixes = \"10.0.0.0/8\"\n[zones.wan]\nprefixes = \"0.0.0.0/0\"", map[string]uint16{"lan": 1, "wan": 2}, "map[lan:20]"},
			{"[zones.new]\nprefixes = \"10.0.0.0/8\"\n[zones.wan]\nprefixes = \"0.0.0.0/0\"\n[zones.lan]\nprefixes = \"192.0.2.0/24\"", map[string]uint16{"new": 3, "wan": 2, "lan": 1}, "map[lan:20 new:10]"},
			{"[zones.wan]\nprefixes = \"0.0.0.0/0\"", map[string]uint16{"wan": 2}, "map[lan:20 new:10 wan:10]"},
			{"[zones.more]\nprefixes = \"10.0.0.0/8\"\n[zones.new]\nprefixes = \"192.0.2.0/24\"", map[string]uint16{"more": 4, "new": 3}, "map[lan:20 more:10 new:10 wan:10]"},
			{"[zones.more]\nid = 4\nprefixes = \"192.0.2.0/24\"\n[zones.explicit]\nid = 9\nprefixes = \"10.0.0.0/8\"", map[string]uint16{"more": 4, "explicit": 9}, "map[explicit:10 lan:20 more:10 new:10 wan:10]"},
		} {
			settle()
			r.ids = pl.ZoneIDs()
			next := r.plan(zoned(c.tables))
			if _, err := pl.Reload(next); err != nil {
				t.Fatal(err)
			}
			for name, id := range c.ids {
				if got, _ := next.Zones.Lookup(name); got != id {
					t.Errorf("step %d: zone %s has id %d, want %d", i, name, got, id)
				}
			}
			settle()
			q.more.Add(10)
			settle()
			if got := fmt.Sprint(began); got != c.began {
				t.Errorf("step %d: sessions began in %s, want %s", i, got, c.began)
			}
		}
		zones := make(map[string]int)
		for rec := range pl.liveSessions() {
			zones[pl.names.Of(rec.Generation).Zone(rec.InZone())]++
		}
		if got := fmt.Sprint(zones); got != "map[explicit:10 lan:20 more:10 new:10 wan:10]" {
			t.Errorf("sessions are of zones %s", got)
		}
		before := pl.rules.Load()
		var restart *RestartError
		if _, err := pl.Reload(r.plan(zoned("[zones.other]\nid = 2\nprefixes = \"10.0.0.0/8\""))); !errors.As(err, &restart) || !slices.Equal(restart.Changed, []string{"zones.other.id"}) || pl.rules.Load() != before {
			t.Errorf("an id of another zone: %v", err)
		}
		pl.end()
		if n := r.wrong.Load(); n > 0 {
			t.Errorf("%d packets came in other zones than their hooks know", n)
		}
	})
}

// TestReloadZonesThatSeparate changes zones where they tell sessions apart: what moves packets of sessions to another zone needs a restart.
func TestReloadZonesThatSeparate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &zonesRig{rig: newRig(t, true, &fakeQueue{})}
		r.sinks["good"] = deliverAll
		const byZone = "[sessions]\nseparate = \"zone\"\n"
		const lan, wan = "[zones.lan]\nprefixes = \"10.0.0.0/8\"\n", "[zones.wan]\nprefixes = \"0.0.0.0/0\"\ninterfaces = [\"wan0\"]\n"
		pl := runPlan(t, r.plan(zoned(lan+wan+byZone)))
		for _, c := range []struct {
			tables string
			fails  bool
		}{
			{wan + lan + byZone, false}, // in another order
			{lan + wan + "[zones.none]\n" + byZone, false},
			{"[zones.new]\nprefixes = \"10.0.0.0/8\"\n" + wan + byZone, true},
			{"[zones.lan]\nprefixes = \"10.0.0.0/8\"\ninterfaces = [\"wan0\"]\n[zones.wan]\nprefixes = \"0.0.0.0/0\"\n" + byZone, true},
			{lan + wan + "[zones.new]\ninterfaces = [\"wan0.100\"]\n" + byZone, true},
		} {
			r.ids = pl.ZoneIDs()
			var restart *RestartError
			_, err := pl.Reload(r.plan(zoned(c.tables)))
			if named := errors.As(err, &restart) && slices.Equal(restart.Changed, []string{"zones"}); named != c.fails || !c.fails && err != nil {
				t.Errorf("%s: %v", c.tables, err)
			}
		}
		pl.end()
	})
}

// TestP13ReloadZonesUnderLoad moves all addresses from zone to zone while workers carry packets: a packet comes in the zone that the hooks
// know which judge it.
func TestP13ReloadZonesUnderLoad(t *testing.T) {
	flows := 30_000
	if testing.Short() {
		flows = 3_000
	}
	r := &zonesRig{rig: newRig(t, true, &fakeQueue{flows: flows}, &fakeQueue{flows: flows, base: 1 << 20})}
	r.sinks["good"] = deliverAll
	text := func(i int) string {
		return zoned(fmt.Sprintf("[zones.a]\nprefixes = \"%d.0.0.0/8\"\n[zones.b]\nprefixes = \"%d.0.0.0/8\"\n[zones.c%d]\nprefixes = \"192.0.2.0/24\"", 10+i%2, 11-i%2, i%50))
	}
	pl := runPlan(t, r.plan(text(0)))
	for i := 1; pl.Ledger().Packets.Received < uint64(2*flows); i++ {
		r.ids = pl.ZoneIDs()
		if _, err := pl.Reload(r.plan(text(i))); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	pl.end()
	if n := r.wrong.Load(); n > 0 {
		t.Errorf("%d times a packet came in another zone than its hook knows", n)
	}
	if led := pl.Ledger(); led.Sessions.Created != uint64(2*flows) {
		t.Errorf("%d sessions", led.Sessions.Created)
	}
}
