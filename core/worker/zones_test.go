package worker

import (
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
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

// TestZonesPublished counts in more zones than one batch has packets: what was counted is published when a batch was not full, after some
// full ones, and when there are more zones; nothing is lost or counted twice.
func TestZonesPublished(t *testing.T) {
	table := func(highest uint16) *zone.Table {
		return zone.New([]zone.Zone{{ID: 1, Name: "first"}, {ID: highest, Name: "last"}}, nil, nil)
	}
	const few, many = 1000, 60_000
	w := new(Worker)
	w.zoned.grow(table(few))
	want := make(map[uint16]uint64)
	rng := rand.New(rand.NewPCG(1, 2))
	add := func(highest int) {
		id, n := uint16(rng.IntN(highest+1)), 1+rng.IntN(packet.BatchSize)
		w.zoned.add(id, n)
		want[id] += uint64(n)
	}
	exact := func(when string) {
		t.Helper()
		if got := maps.Collect(w.Zones()); !maps.Equal(got, want) {
			t.Fatalf("%s %d zones, want %d", when, len(got), len(want))
		}
	}
	busy := func(highest int) {
		t.Helper()
		for range zoneBatches - 1 {
			add(highest)
			w.zoned.publishAfter(packet.BatchSize)
		}
		before := maps.Collect(w.Zones())
		w.zoned.add(1, packet.BatchSize)
		want[1] += packet.BatchSize
		if got := maps.Collect(w.Zones()); !maps.Equal(got, before) {
			t.Error("published before it is due")
		}
		w.zoned.publishAfter(packet.BatchSize)
		exact("after full batches")
	}
	busy(few)
	add(few)
	w.zoned.publishAfter(packet.BatchSize - 1)
	exact("after a batch with room")
	add(few)
	w.zoned.publishAfter(packet.BatchSize)
	w.zoned.grow(table(many))
	exact("with more zones")
	busy(many)
	for range zoneBatches { // as much as one zone can have
		w.zoned.add(many, packet.BatchSize)
		want[many] += packet.BatchSize
		w.zoned.publishAfter(packet.BatchSize)
	}
	exact("of one zone")
	w.zoned.publishAfter(0)
	exact("after nothing")
}

// TestEntrances mixes frames of several interfaces and VLANs in one batch: each comes from the zone that the table says, and is counted
// in it, whatever the frame before was.
func TestEntrances(t *testing.T) {
	var seen []hook.Packet
	r := newRig(t, ingress(func(p *hook.Packet, _ *hook.Finding) hook.Verdict {
		seen = append(seen, *p)
		return hook.Drop
	}))
	rng := rand.New(rand.NewPCG(1, 2))
	want := make(map[uint16]uint64)
	var frames []timed
	var entrances []entrance
	for range packet.BatchSize {
		vlan := []uint16{0, 0, 30, 31}[rng.IntN(4)]
		source := []string{client, server}[rng.IntN(2)]
		on := []string{"lan0", "wan0", "nowhere"}[rng.IntN(3)]
		ip, udp := ip4(source, "203.0.113.9", layers.IPProtocolUDP), &layers.UDP{SrcPort: 1, DstPort: 2}
		data := frame(t, ip, udp)
		if vlan != 0 {
			data = frame(t, &layers.Dot1Q{VLANIdentifier: vlan, Type: layers.EthernetTypeIPv4}, ip, udp)
		}
		from, id := r.zones.Logical(r.zones.Index(on), vlan)
		if from == zone.Unknown && source == server {
			from = untrust // by its prefix
		}
		for range 1 + rng.IntN(2) {
			if len(frames) < packet.BatchSize {
				frames, entrances = append(frames, timed{0, data, on}), append(entrances, entrance{vlan: vlan, zone: from, id: id})
				want[from]++
			}
		}
	}
	r.batch(frames...)
	r.run()
	if len(seen) != len(frames) {
		t.Fatalf("%d packets of %d", len(seen), len(frames))
	}
	for i, p := range seen {
		if got := (entrance{vlan: p.VLAN, zone: p.InZone, id: p.Interface}); got != entrances[i] {
			t.Errorf("packet %d comes from %+v, want %+v", i, got, entrances[i])
		}
	}
	if got := maps.Collect(r.Zones()); !maps.Equal(got, want) {
		t.Errorf("zones %v, want %v", got, want)
	}
}

// TestZonesAtTheEnd ends with a full batch: its packets are counted.
func TestZonesAtTheEnd(t *testing.T) {
	r := newRig(t)
	var frames []timed
	for range packet.BatchSize {
		frames = append(frames, timed{0, udpFrame(t, client, 9, server, 53, 10), ""})
	}
	r.batch(frames...)
	r.source.together = true
	r.run()
	if got, want := maps.Collect(r.Zones()), map[uint16]uint64{trust: packet.BatchSize}; !maps.Equal(got, want) {
		t.Errorf("packets by zone %v, want %v", got, want)
	}
}
