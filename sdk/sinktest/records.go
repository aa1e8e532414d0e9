package sinktest

import (
	"math/rand/v2"

	"github.com/rtflow/pipelined/sdk/event"
)

// Ids in the records of this package.
const (
	zoneTrust   = 1
	zoneUntrust = 2
	ifTrust     = 11
	ifUntrust   = 12
)

// Names returns the names for the ids in the records of this package.
func Names() *event.Names {
	return &event.Names{
		Zones:        map[uint16]string{zoneTrust: "trust", zoneUntrust: "untrust"},
		Policies:     []string{"", "web-out", "deny-all"},
		Filters:      []event.Filter{{}, {Name: "edge-in", Terms: []string{"ntp-amplification", "rest"}}},
		Interfaces:   map[uint32]string{ifTrust: "lan0", ifUntrust: "wan0"},
		Applications: []string{"", "junos-https", "junos-dns-udp", "junos-telnet"},
	}
}

// Records returns n records as a firewall makes them: sessions that open and close, mixed with denies, screens, filter logs
// and, rarely, losses. The same seed gives the same records. Their sequence numbers are 0; a stream sets them.
func Records(seed uint64, n int) []event.Record {
	rng := rand.New(rand.NewPCG(seed, 0))
	all := make([]event.Record, n)
	for i := range all {
		kind := event.SessionOpen
		switch p := rng.IntN(1000); {
		case p < 300:
		case p < 600:
			kind = event.SessionClose
		case p < 800:
			kind = event.PolicyDeny
		case p < 920:
			kind = event.ScreenDrop
		case p < 999:
			kind = event.FilterLog
		default:
			kind = event.Loss
		}
		fill(&all[i], kind, uint64(i), rng)
	}
	return all
}

// Record returns the i-th record of that kind.
func Record(kind event.Kind, i uint64) event.Record {
	var r event.Record
	fill(&r, kind, i, rand.New(rand.NewPCG(i, uint64(kind))))
	return r
}

// start is 2026-03-01T10:15:20Z; the records are a millisecond apart.
const (
	start       = 1772360120_000000000
	millisecond = 1_000_000
)

func fill(r *event.Record, kind event.Kind, i uint64, rng *rand.Rand) {
	r.Reset(kind)
	now := int64(start + i*millisecond)
	if kind == event.Loss {
		lost := event.LossCounts{event.PolicyDeny: rng.Uint64N(1000) + 1, event.ScreenDrop: rng.Uint64N(1000)}
		r.SetLoss(event.LossRateLimited, zoneUntrust, &lost, now-1000*millisecond, now)
		return
	}
	r.SetTime(now)
	inside, outside := address(rng)
	family := uint8(event.FamilyIPv4)
	if rng.IntN(4) == 0 {
		family, inside, outside = event.FamilyIPv6, v6(inside), v6(outside)
	}
	port := uint16(32768 + rng.IntN(28000))
	switch kind {
	case event.SessionOpen, event.SessionClose:
		r.SetFlow(family, 6, &inside, &outside, port, 443)
		r.SetZones(zoneTrust, zoneUntrust)
		r.SetInterface(ifTrust)
		r.SetPolicy(1)
		r.SetApplication(1)
		r.SetSessionID(9000 + i)
		if kind == event.SessionClose {
			packets := rng.Uint64N(1000) + 1
			created := uint32(now/1e9) - uint32(rng.IntN(600))
			r.SetClose(packets, packets*120, packets, packets*900, created, event.CloseFIN)
		}
	case event.PolicyDeny:
		r.SetFlow(family, 6, &outside, &inside, port, 23)
		r.SetZones(zoneUntrust, zoneTrust)
		r.SetInterface(ifUntrust)
		r.SetApplication(3)
		r.SetDeny(2, 9000+i, 0)
	case event.ScreenDrop:
		r.SetFlow(family, 17, &outside, &inside, port, 53)
		r.SetZones(zoneUntrust, 0)
		r.SetInterface(ifUntrust)
		r.SetScreen(event.ScreenUDPFlood)
	default:
		r.SetFlow(family, 17, &outside, &inside, port, 123)
		r.SetZones(zoneUntrust, 0)
		r.SetInterface(ifUntrust)
		r.SetFilter(1, 0, event.FilterInput, 0, 0)
	}
}

// address returns an address inside the firewall and one outside, from ranges that are nobody's.
func address(rng *rand.Rand) (inside, outside [16]byte) {
	return [16]byte{10, 0, byte(rng.IntN(256)), byte(rng.IntN(256))}, [16]byte{203, 0, 113, byte(rng.IntN(256))}
}

func v6(a [16]byte) [16]byte { return [16]byte{0x20, 0x01, 0x0d, 0xb8, a[0], a[1], 14: a[2], 15: a[3]} }
