package screendrop

import (
	"sync/atomic"
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// traffic is a mix of harmless packets of many flows.
func traffic(tb testing.TB) []hook.Packet {
	var list []hook.Packet
	for i := range uint32(64) {
		for _, p := range []hook.Packet{tcp(tb, packet.ACK), tcp(tb, packet.SYN), tcp(tb, packet.PSH|packet.ACK), udp(tb)} {
			host(&p.Src, p.Family, 0xcb007100+i)
			p.SrcPort += uint16(i)
			list = append(list, p)
		}
	}
	return list
}

// TestInspectAllocatesNothing pins the share that this hook has in P7.
func TestInspectAllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	inst := load(t, allScreens)
	packets := append(traffic(t), tcp(t, 0), icmp(t), fragment(udp(t), 0, 8, true))
	var f hook.Finding
	if n := testing.AllocsPerRun(100, func() {
		for i := range packets {
			f = hook.Finding{}
			packets[i].Time += 100 * microsecond
			inst.Ingress.Inspect(&packets[i], &f)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTwoWorkersOnOneKey: receive-side scaling spreads a flood; together the workers let n packets pass and make one event.
func TestTwoWorkersOnOneKey(t *testing.T) {
	inst := load(t, "udp.flood.threshold = 1000")
	var passed, events atomic.Int32
	parallel(2, func(w int) {
		p := udp(t)
		p.Worker = w
		for range 5000 {
			var f hook.Finding
			if inst.Ingress.Inspect(&p, &f) == hook.Pass {
				passed.Add(1)
			}
			if f.Found {
				events.Add(1)
			}
		}
	})
	if passed.Load() != 1000 || events.Load() != 1 {
		t.Errorf("%d passed and %d events, want 1000 and 1", passed.Load(), events.Load())
	}
}

// FuzzInspect: no packet that decodes makes a panic, an unknown screen or a finding that contradicts the verdict.
func FuzzInspect(f *testing.F) {
	eth := "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"
	f.Add([]byte(eth+"\x08\x00\x45\x00\x00\x28\x00\x00\x00\x00\x40\x06\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x01\x00\x50\x00\x8b\x00\x00\x00\x00\x00\x00\x00\x00\x50\x23\x00\x00\x00\x00\x00\x00"), int64(1e9))
	f.Add([]byte(eth+"\x08\x00\x45\x00\x00\x1d\x00\x00\x1f\xff\x40\x01\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x08\x00\x00\x00\x00\x00\x00\x00\x00"), int64(2e9))
	f.Add([]byte(eth+"\x86\xdd\x60\x00\x00\x00\x00\x08\x11\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x35\x00\x35\x00\x08\x00\x00"), int64(-1))
	inst := load(f, allScreens)
	alarm := load(f, allScreens+"alarm-without-drop = true")
	f.Fuzz(func(t *testing.T, frame []byte, now int64) {
		p := hook.Packet{Time: now, InZone: untrust}
		if packet.Decode(frame, len(frame), &p.Headers) != packet.OK {
			return
		}
		var found hook.Finding
		verdict := inst.Ingress.Inspect(&p, &found)
		drops := found.Action == event.ActionDeny
		if found.Found && (found.Screen >= event.NumScreens || drops != (verdict == hook.Drop)) || verdict == hook.Reject {
			t.Errorf("verdict %d with %+v", verdict, found)
		}
		if v := alarm.Ingress.Inspect(&p, new(hook.Finding)); v != hook.Pass {
			t.Errorf("verdict %d with alarm-without-drop", v)
		}
	})
}

// BenchmarkInspect20Screens is a mix of harmless packets, a quarter of them SYN and a quarter UDP, past every screen.
func BenchmarkInspect20Screens(b *testing.B) {
	inst := load(b, allScreens)
	packets := traffic(b)
	now := start
	var f hook.Finding
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p := &packets[i%len(packets)]
		now += 1000_000
		p.Time = now
		inst.Ingress.Inspect(p, &f)
		i++
	}
}

// BenchmarkInspectFlood is one UDP flow far above its threshold.
func BenchmarkInspectFlood(b *testing.B) {
	inst := load(b, allScreens)
	p := udp(b)
	var f hook.Finding
	b.ReportAllocs()
	for b.Loop() {
		f = hook.Finding{}
		inst.Ingress.Inspect(&p, &f)
	}
}

// BenchmarkInspectFloodTwoWorkers is that flow on two workers.
func BenchmarkInspectFloodTwoWorkers(b *testing.B) {
	inst := load(b, allScreens)
	b.SetParallelism(1)
	var worker atomic.Int32
	b.RunParallel(func(pb *testing.PB) {
		p := udp(b)
		p.Worker = int(worker.Add(1)-1) % 2
		var f hook.Finding
		for pb.Next() {
			f = hook.Finding{}
			inst.Ingress.Inspect(&p, &f)
		}
	})
}

// BenchmarkInspectRandomSources is a SYN flood from random addresses.
func BenchmarkInspectRandomSources(b *testing.B) {
	inst := load(b, allScreens)
	p := tcp(b, packet.SYN)
	var f hook.Finding
	b.ReportAllocs()
	for b.Loop() {
		f = hook.Finding{}
		host(&p.Src, p.Family, uint32(p.Time)*0x9e3779b1)
		p.DstPort, p.Time = uint16(p.Time>>4), p.Time+300
		inst.Ingress.Inspect(&p, &f)
	}
}
