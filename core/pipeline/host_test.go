package pipeline

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/routes"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/sdk"
)

// handSource is a live source with one queue, whose packets the test hands in.
type handSource struct {
	packets chan []byte
	zones   *zone.Table
}

func (s *handSource) Queues() []source.FrameSource { return []source.FrameSource{s} }
func (s *handSource) Status() any                  { return nil }
func (s *handSource) Counters() []source.Counter   { return nil }
func (s *handSource) Close() error                 { return nil }
func (s *handSource) Release()                     {}

func (s *handSource) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	b.N = 0
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case data, ok := <-s.packets:
		if !ok {
			return io.EOF
		}
		b.N = 1
		b.Frames[0] = packet.Frame{Data: data, Wire: len(data), Interface: s.zones.Index("lan0")}
	case <-t.C:
	case <-ctx.Done():
	}
	b.Now = time.Now().UnixNano()
	b.Wall = b.Now
	b.Frames[0].Time = b.Now
	return nil
}

// TestZonesByRoute carries packets on a router: each session has the egress zone that the route of its destination led to when it
// began.
func TestZonesByRoute(t *testing.T) {
	nettest.Require(t)
	router := nettest.NewHost(t)
	for name, address := range map[string]string{"lan0": "10.0.0.1/24", "wan0": "192.0.2.1/24", "wan1": "198.51.100.1/24"} {
		nettest.Cable(router, name, nettest.NewHost(t), "end0", 1)
		router.Address(name, address)
	}
	router.Route("0.0.0.0/0", "192.0.2.254")

	src := &handSource{packets: make(chan []byte)}
	records := make(chan [2]uint16) // zones of a session
	registry := &plan.Registry{
		Sources: map[string]source.Plugin{"hand": {Configure: func(sdk.Config, source.Env) source.Configured {
			return source.Configured{Live: true, Incoming: true, Interfaces: []string{"lan0"}, Open: func(_ context.Context, zones *zone.Table) (source.Source, error) {
				src.zones = zones
				return src, nil
			}}
		}}},
		Hooks: map[string]hook.Plugin{"permit": {Configure: func(sdk.Config, hook.Env) hook.Instance {
			return hook.Instance{Session: permitAll{}}
		}}},
		Sinks: map[string]sdk.SinkPlugin{"hand": {Configure: func(sdk.Config, sdk.Env) sdk.Sink {
			return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
				for i := range b.Records {
					records <- [2]uint16{b.Records[i].InZone(), b.Records[i].OutZone()}
				}
				return b.Len(), nil
			})
		}}},
	}
	const text = `
[pipeline]
sources = "in"
hooks   = "all"
sinks   = "out"
[zones.lan]
interfaces = "lan0"
[zones.wan]
interfaces = "wan0"
[zones.backup]
interfaces = "wan1"
[zones.far]
prefixes = "203.0.113.0/24"
[sources.in]
plugin = "hand"
[hooks.all]
plugin = "permit"
[sinks.out]
plugin = "hand"
only   = "session-open"
`
	applied := make(chan struct{}, 1)
	var pl *Pipeline
	var err error
	plan := func(text string) *plan.Plan {
		t.Helper()
		o := plan.Options{Registry: registry, Log: slog.New(slog.DiscardHandler)}
		if pl != nil {
			o.ZoneIDs = pl.ZoneIDs()
		}
		file, problems := config.Parse("p.toml", []byte(text))
		p := plan.New(file, problems, o)
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := plan(text)
	router.Do(func() {
		pl, err = Open(t.Context(), p, Options{FollowHost: true, applied: func() {
			select {
			case applied <- struct{}{}:
			default:
			}
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- pl.Run(t.Context()) }()
	port := uint16(1000)
	session := func(destination string) [2]uint16 {
		port++
		src.packets <- datagram(port, netip.MustParseAddr(destination))
		select {
		case zones := <-records:
			return zones
		case <-t.Context().Done():
			return [2]uint16{}
		}
	}
	check := func(when string, want map[string]uint16) {
		t.Helper()
		for destination, zone := range want {
			if got := session(destination); got != [2]uint16{1, zone} {
				t.Errorf("%s: a session with %s is from zone %d to zone %d; want 1 to %d", when, destination, got[0], got[1], zone)
			}
		}
	}
	check("at the start", map[string]uint16{"8.8.8.8": 2, "198.51.100.7": 3, "203.0.113.7": 4, "10.0.0.9": 1, "224.0.0.9": 0})
	router.Run("ip", "route", "replace", "default", "via", "198.51.100.254")
	probe, family := packet.AddrFrom(netip.MustParseAddr("8.8.8.8"))
	late := time.NewTimer(30 * time.Second)
	for p.Zones.ByPrefix(&probe, family) != 3 {
		select {
		case <-applied:
		case <-late.C:
			t.Fatalf("%+v", pl.host.Load().status())
		}
	}
	check("when the route has changed", map[string]uint16{"8.8.8.8": 3, "192.0.2.9": 2, "203.0.113.7": 4})

	st := pl.Status()
	if r := st.Routes; r == nil || r.Routes == 0 || r.Zones != 3 || r.Interfaces != 4 || r.Reads < 2 || r.Error != "" {
		t.Errorf("%+v", r)
	}
	if pl.Snapshot().Routes == nil {
		t.Error("nothing of routes for metrics")
	}
	reload := func(text string) {
		t.Helper()
		next := plan(text)
		router.Do(func() { _, err = pl.Reload(next) })
		if err != nil {
			t.Fatal(err)
		}
	}
	moved := change(t, text, `"wan1"`, `"wan2"`, "[zones.far]", "[zones.other]\ninterfaces = \"wan1\"\n[zones.far]")
	reload(moved)
	check("when an interface is in another zone", map[string]uint16{"8.8.8.8": 5, "198.51.100.7": 5, "192.0.2.9": 2, "203.0.113.7": 4})
	reload(change(t, moved, `sinks   = "out"`, "sinks   = \"out\"\nzones_by_route = false"))
	check("without routes", map[string]uint16{"8.8.8.8": 0, "198.51.100.7": 0, "203.0.113.7": 4})
	close(src.packets)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// datagram returns a UDP packet from a port of 10.0.0.7.
func datagram(port uint16, to netip.Addr) []byte {
	return nettest.UDP{Source: netip.MustParseAddr("10.0.0.7"), Dest: to, SourcePort: port, DestinationPort: 9000}.Frame([]byte("text"))
}

// TestNoHostForCapture: a capture has no routes, and asks the kernel for none.
func TestNoHostForCapture(t *testing.T) {
	r := newRig(t, false, &fakeQueue{end: io.EOF})
	r.sinks["good"], r.sinks["other"] = deliverAll, deliverAll
	pl, err := Open(t.Context(), r.plan(twoSinks), Options{FollowHost: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := pl.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if st := pl.Status(); st.Routes != nil || pl.host.Load() != nil {
		t.Errorf("%+v", st.Routes)
	}
}

// TestStatusOfRoutes shows people how routes are followed, and why they are not.
func TestStatusOfRoutes(t *testing.T) {
	at := time.Date(2026, 11, 24, 3, 38, 11, 0, time.UTC)
	st := Status{Routes: &routes.Status{Routes: 7, Prefixes: 3, Zones: 2, Interfaces: 4, Updated: at, Error: "no room", Since: at}}
	var b strings.Builder
	if err := st.WriteText(&b, "127.0.0.1:9464", nil); err != nil {
		t.Fatal(err)
	}
	want := "\nroutes  count=7 prefixes=3 zones=2 interfaces=4 updated=2026-11-24T03:38:11Z\n        error since 2026-11-24T03:38:11Z: no room\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("%s\ndoes not contain\n%s", b.String(), want)
	}
}

// permitAll permits every session.
type permitAll struct{}

func (permitAll) Decide(*hook.Packet, *hook.Permit, *hook.Finding) hook.Verdict { return hook.Pass }

func (permitAll) Denied(*hook.Packet, *hook.Finding) {}
