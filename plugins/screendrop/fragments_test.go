package screendrop

import (
	"sync/atomic"
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// bytes is a fragment of a datagram; more says that it is not the last.
type bytes struct {
	from, size int
	more       bool
}

// TestTearDrop sends the fragments of one datagram. want has a letter for each: p passes, d fires, o is dropped behind it.
func TestTearDrop(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		fragments  []bytes
	}{
		{"in order", "ppp", []bytes{{0, 1480, true}, {1480, 1480, true}, {2960, 40, false}}},
		{"last first", "ppp", []bytes{{2960, 40, false}, {1480, 1480, true}, {0, 1480, true}}},
		{"twice", "ppp", []bytes{{0, 1480, true}, {0, 1480, true}, {1480, 8, false}}},
		{"id used again when complete", "pppp", []bytes{{0, 1480, true}, {1480, 8, false}, {0, 800, true}, {800, 800, false}}},
		{"a hole", "pp", []bytes{{0, 8, true}, {1480, 8, false}}},
		{"teardrop", "pd", []bytes{{0, 36, true}, {24, 4, false}}},
		{"one byte", "pd", []bytes{{0, 9, true}, {8, 8, true}}},
		{"the later one first", "pd", []bytes{{24, 4, false}, {0, 36, true}}},
		{"same place, another size", "pd", []bytes{{0, 16, true}, {0, 8, true}}},
		{"contained", "pd", []bytes{{0, 800, true}, {8, 8, true}}},
		{"all after it", "pdooo", []bytes{{0, 16, true}, {8, 16, true}, {24, 8, true}, {32, 8, false}, {0, 16, true}}},
		{"behind the last", "pd", []bytes{{80, 8, false}, {88, 8, true}}},
		{"the last before another", "pd", []bytes{{88, 8, true}, {80, 8, false}}},
		{"two ends", "pd", []bytes{{80, 8, false}, {40, 8, false}}},
		{"nothing", "ppp", []bytes{{0, 0, true}, {0, 8, true}, {8, 8, false}}},
	} {
		for _, p := range []hook.Packet{udp(t), tcp(t, packet.ACK), icmp(t), pkt(t, packet.ProtoUDP, "2001:db8::1", "2001:db8::2")} {
			inst := load(t, "ip.tear-drop = true")
			got := ""
			for _, f := range tc.fragments {
				q := fragment(p, uint16(f.from), uint32(f.size), f.more)
				q.FragID = 7
				got += map[string]string{"pass": "p", "drop, drop: tear-drop": "d", "drop": "o"}[seen(inst, q)]
			}
			if got != tc.want {
				t.Errorf("%s, protocol %d: %s, want %s", tc.name, p.Proto, got, tc.want)
			}
		}
	}
}

// TestTearDropKeepsDatagramsApart: fragments that would overlap in one datagram belong to several.
func TestTearDropKeepsDatagramsApart(t *testing.T) {
	inst := load(t, "ip.tear-drop = true")
	first := fragment(udp(t), 0, 16, true)
	for name, change := range map[string]func(p *hook.Packet){
		"id": func(p *hook.Packet) { p.FragID++ }, "protocol": func(p *hook.Packet) { p.Proto = packet.ProtoTCP },
		"source": func(p *hook.Packet) { host(&p.Src, p.Family, 9) }, "destination": func(p *hook.Packet) { host(&p.Dst, p.Family, 9) },
		"time": func(p *hook.Packet) { p.Time += datagramLife },
	} {
		p := first
		if got := seen(inst, p); got != "pass" {
			t.Fatalf("%s: %s", name, got)
		}
		p = fragment(first, 8, 16, false)
		change(&p)
		if got := seen(inst, p); got != "pass" {
			t.Errorf("another %s: %s", name, got)
		}
		first.FragID += 10
	}
}

// TestTearDropNextHeader sends fragments that overlap and name different protocols: of IPv6 they are of one datagram (RFC 8200
// section 4.5), of IPv4 of two.
func TestTearDropNextHeader(t *testing.T) {
	for _, next := range []uint8{packet.ProtoTCP, packet.ProtoDstOpts, 200} {
		for p, want := range map[hook.Packet]string{
			pkt(t, packet.ProtoUDP, "2001:db8::1", "2001:db8::2"): "drop, drop: tear-drop",
			udp(t): "pass",
		} {
			inst := load(t, "ip.tear-drop = true")
			if got := seen(inst, fragment(p, 0, 32, true)); got != "pass" {
				t.Fatalf("first fragment: %s", got)
			}
			second := fragment(p, 24, 16, false)
			second.Proto = next
			if got := seen(inst, second); got != want {
				t.Errorf("IPv6 %v, protocol %d behind UDP: %s, want %s", p.Family == packet.IPv6, next, got, want)
			}
		}
	}
}

// TestTearDropOfManyFragments: of a datagram in more fragments than are remembered, the first are compared with all.
func TestTearDropOfManyFragments(t *testing.T) {
	inst := load(t, "ip.tear-drop = true")
	for n := range 4 * maxPieces {
		if got := seen(inst, fragment(udp(t), uint16(8*n), 8, true)); got != "pass" {
			t.Fatalf("fragment %d: %s", n, got)
		}
	}
	if got := seen(inst, fragment(udp(t), 8*(maxPieces-1), 16, true)); got != "drop, drop: tear-drop" {
		t.Error(got)
	}
}

// TestTearDropUnderFlood: with more datagrams than there is room for, the oldest are forgotten and none fires by mistake.
func TestTearDropUnderFlood(t *testing.T) {
	table := newDatagramTable(1)
	first := fragment(udp(t), 0, 16, true)
	overlap := fragment(udp(t), 8, 16, true)
	for key := range uint64(100) {
		if got := table.add(key+1, &first.Headers, start+int64(key)); got != under {
			t.Fatalf("datagram %d: %d", key, got)
		}
	}
	for key, want := range map[uint64]outcome{97: crossed, 98: crossed, 99: crossed, 100: crossed} {
		if got := table.add(key, &overlap.Headers, start+100); got != want {
			t.Errorf("datagram %d: %d, want %d", key, got, want)
		}
	}
	if got := table.add(1, &overlap.Headers, start+100); got != under {
		t.Errorf("a datagram that was forgotten: %d", got)
	}
}

// TestTearDropOnSeveralWorkers: the fragments of a datagram may arrive on different workers; one event is made of it. There
// are so few datagrams at a time that none is forgotten.
func TestTearDropOnSeveralWorkers(t *testing.T) {
	for range 10 {
		inst := load(t, "ip.tear-drop = true")
		var events atomic.Int32
		const datagrams = 50
		parallel(2, func(w int) {
			for id := range uint32(datagrams) {
				for range 2 {
					p := fragment(udp(t), uint16(8*w), 16, true)
					p.FragID, p.Worker = id, w
					var f hook.Finding
					if inst.Ingress.Inspect(&p, &f); f.Found {
						events.Add(1)
					}
				}
			}
		})
		if n := events.Load(); n != datagrams {
			t.Errorf("%d events of %d datagrams", n, datagrams)
		}
	}
}
