package worker

import (
	"maps"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/zone"
)

// TestZones counts packets by the zone that they come from, whatever becomes of them, and goes on with that when a reload adds a zone
// with a greater id.
func TestZones(t *testing.T) {
	r := newRig(t)
	r.batch(timed{0, tcpFrame(t, client, 8, server, 443, syn), "lan0"}, timed{0, tcpFrame(t, client, 9, server, 443, syn), "wan0"},
		timed{0, udpFrame(t, client, 7, server, 5000, 10), "wan0"}, timed{0, []byte{1, 2, 3}, "wan0"})
	next := Rules{Zones: r.zones.Next([]zone.Zone{
		{ID: untrust, Name: "untrust", Interfaces: []string{"wan0"}}, {ID: 60000, Name: "lab", Interfaces: []string{"lan0"}},
	}, nil, nil)}
	step := 0
	r.source.onReceive = func() {
		if step++; step == 2 {
			if got := maps.Collect(r.Zones()); !maps.Equal(got, map[uint16]uint64{trust: 1, untrust: 2}) {
				t.Errorf("at first %v", got)
			}
			r.SetRules(&next)
		}
	}
	r.batch(timed{time.Second, tcpFrame(t, client, 10, server, 443, syn), "lan0"}, timed{time.Second, tcpFrame(t, client, 11, server, 443, syn), "wan0"})
	r.timeout(2 * time.Second)
	r.run()
	if got := maps.Collect(r.Zones()); !maps.Equal(got, map[uint16]uint64{trust: 1, untrust: 3, 60000: 1}) {
		t.Errorf("in the end %v", got)
	}
	if c := r.Counts(); c.Received != 6 {
		t.Errorf("counts %+v", c)
	}
}
