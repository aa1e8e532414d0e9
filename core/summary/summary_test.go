package summary

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

func names(uint32) *event.Names {
	return &event.Names{
		Zones: map[uint16]string{1: "lan", 2: "wan"}, Policies: []string{"", "web", "rest"},
		Filters: []event.Filter{{}, {Name: "edge", Terms: []string{"ntp"}}},
	}
}

// record is one from 10.0.0.HOST, in the zone lan.
func record(k event.Kind, host byte, dstPort uint16, a event.Action) event.Record {
	var r event.Record
	r.Reset(k)
	src, dst := [16]byte{10, 0, 0, host}, [16]byte{192, 0, 2, 80}
	r.SetFlow(event.FamilyIPv4, 6, &src, &dst, 40000, dstPort)
	r.SetZones(1, 2)
	r.SetAction(a)
	return r
}

func TestReport(t *testing.T) {
	now := time.Unix(1000, 0)
	s, err := New(names, "edge-1", now)
	if err != nil {
		t.Fatal(err)
	}
	deny := func(host byte, dstPort uint16) event.Record {
		r := record(event.PolicyDeny, host, dstPort, event.ActionDeny)
		r.SetDeny(2, 7, 0)
		return r
	}
	open := record(event.SessionOpen, 9, 443, event.ActionPermit)
	open.SetPolicy(1)
	accepted := record(event.FilterLog, 9, 123, event.ActionPermit)
	accepted.SetFilter(1, 0, event.FilterInput, 0, 0)
	ping := deny(6, 17) // what an echo has there is its sequence number
	src, dst := [16]byte{10, 0, 0, 6}, [16]byte{192, 0, 2, 80}
	ping.SetFlow(event.FamilyIPv4, 1, &src, &dst, 1, 17)
	screen := record(event.ScreenDrop, 5, 80, event.ActionDeny)
	screen.SetScreen(event.ScreenLand)
	screen.SetZones(0, 0)
	var lost event.Record
	lost.Reset(event.Loss)
	s.Add(tail.Batch{LeftOut: 4, Records: []event.Record{deny(5, 23), deny(5, 22), open, accepted, screen, lost}}, now)
	now = now.Add(20 * time.Second)
	s.Add(tail.Batch{LeftOut: 1, Records: []event.Record{deny(6, 23), ping}}, now)
	got := s.Report(now)
	for _, list := range [][]Row{got.Zones, got.Rules, got.Sources, got.Destinations, got.Ports} {
		for _, r := range list {
			if !strings.HasPrefix(r.Example, "<") || !strings.Contains(r.Example, " edge-1 ") {
				t.Errorf("the example of %s is %q", r.Name, r.Example)
			}
		}
	}
	want := Report{
		Seconds: 20, Seen: 7, Denials: 5, LeftOut: 5,
		Zones: []Row{{Name: "lan", Count: 6}, {Name: "unknown", Count: 1}},
		Rules: []Row{
			{Name: "rest", What: "policy-deny", Count: 4}, {Name: "edge ntp", What: "filter-log", Count: 1}, {Name: "land", What: "screen-drop", Count: 1},
			{Name: "web", What: "session-open", Count: 1},
		},
		Sources:      []Row{{Name: "10.0.0.5", Count: 3}, {Name: "10.0.0.6", Count: 2}},
		Destinations: []Row{{Name: "192.0.2.80", Count: 5}},
		Ports:        []Row{{Name: "23/tcp", Count: 2}, {Name: "22/tcp", Count: 1}, {Name: "80/tcp", Count: 1}, {Name: "icmp", Count: 1}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Row{}, "Example")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What is older than the window is forgotten.
	for range parts {
		now = now.Add(Window / parts)
		s.Add(tail.Batch{}, now)
	}
	if got := s.Report(now); got.Seen != 0 || len(got.Sources) != 0 || got.LeftOut != 5 || got.Seconds > (Window+Window/parts).Seconds() {
		t.Errorf("after the window: %+v", got)
	}
}

// TestQuiet asks seldom: what is older than the window is forgotten all the same, and what is newer is not.
func TestQuiet(t *testing.T) {
	now := time.Unix(1000, 0)
	s, err := New(names, "", now)
	if err != nil {
		t.Fatal(err)
	}
	deny := tail.Batch{Records: []event.Record{record(event.PolicyDeny, 5, 23, event.ActionDeny)}}
	s.Add(deny, now)
	now = now.Add(Window - Window/parts)
	if got := s.Report(now); got.Denials != 1 || got.Seconds != (Window-Window/parts).Seconds() {
		t.Errorf("within the window: %+v", got)
	}
	for _, later := range []time.Duration{Window, 5 * time.Minute, 30 * 24 * time.Hour} {
		s.Add(deny, now)
		if now = now.Add(later); s.Report(now).Denials != 0 || s.Report(now).Seconds > (Window+Window/parts).Seconds() {
			t.Errorf("after %v: %+v", later, s.Report(now))
		}
	}
}

// TestBounded sees more sources than it has places for: the report stays short, and says by how much it may be wrong.
func TestBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	s, err := New(names, "", now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40_000 {
		r := record(event.PolicyDeny, 0, uint16(i), event.ActionDeny)
		src := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).As4()
		if i%8 == 0 {
			src = [4]byte{192, 0, 2, 1}
		}
		var wide [16]byte
		copy(wide[:], src[:])
		r.SetFlow(event.FamilyIPv4, 6, &wide, &[16]byte{}, 1, 2)
		s.Add(tail.Batch{Records: []event.Record{r}}, now)
	}
	got := s.Report(now)
	if top := got.Sources[0]; top.Name != "192.0.2.1" || top.Count < 5000 || top.Count-top.Error > 5000 || len(got.Sources) != Rows {
		t.Errorf("the first of %d sources: %s", len(got.Sources), fmt.Sprint(top.Name, top.Count, top.Error))
	}
	if next := got.Sources[1]; next.Count-next.Error > 1 {
		t.Errorf("a source that came once is told to have come %d to %d times", next.Count-next.Error, next.Count)
	}
}
