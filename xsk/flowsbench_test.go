package xsk

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// bare loads a program of a few instructions, to compare with.
func bare(b *testing.B, instructions ...asm.Instruction) *ebpf.Program {
	b.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "bare", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, Instructions: instructions})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	return p
}

// measured is a program of which the kernel has measured the runs on packets of a flood.
type measured struct {
	program    *ebpf.Program
	each, rate []float64 // by round: ns a packet, and packets per second
}

func (m *measured) round(b *testing.B, attached link.Link, sender *nettest.Host, flows int) {
	b.Helper()
	if err := attached.Update(m.program); err != nil {
		b.Fatal(err)
	}
	stats := func() *ebpf.ProgramStats {
		s, err := m.program.Stats()
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	before, begin := stats(), time.Now()
	if _, err := sender.Flood(b.Context(), nettest.Flood{Device: "wire", Flows: flows, Count: 1 << 18}); err != nil {
		b.Fatal(err)
	}
	took, after := time.Since(begin), stats()
	n := float64(after.RunCount - before.RunCount)
	m.each = append(m.each, float64((after.Runtime-before.Runtime).Nanoseconds())/n)
	m.rate = append(m.rate, n/took.Seconds())
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// maxRounds is after how many rounds the median does not change any more: each takes about half a second, however many are asked for.
const maxRounds = 15

// BenchmarkFlows measures what the program costs for packets of a tap, and of a bridge, that it carries, against one that only drops, or
// only redirects: the kernel's time for a packet, and packets per second. Each round runs both, on datagrams of one flow after another.
func BenchmarkFlows(b *testing.B) {
	for _, bridge := range []bool{false, true} {
		for _, flows := range []int{1, 1 << 10, 1 << 16} {
			mode := "tap"
			if bridge {
				mode = "bridge"
			}
			b.Run(fmt.Sprintf("%s/flows=%d", mode, flows), func(b *testing.B) { benchmarkFlows(b, bridge, flows) })
		}
	}
}

func benchmarkFlows(b *testing.B, bridge bool, flows int) {
	statistics, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer statistics.Close()
	sender, tap := cable(b, 1)
	f := flowTable(b, flows, false)
	c := newCarrier(b, f, bridge)
	frame := nettest.UDP{}.Frame(make([]byte, 18))
	for port := range flows {
		var h packet.Headers
		packet.Decode(frame, len(frame), &h)
		h.SrcPort = uint16(port)
		key := headerKey(&h)
		f.Resume(f.Add(&key))
	}

	without := measured{program: bare(b, asm.Mov.Imm(asm.R0, actionDrop), asm.Return())}
	if bridge {
		receiver := nettest.NewHost(b)
		nettest.Cable(tap, "out", receiver, "rx", 1)
		receiver.AcceptFlood("rx")
		out := tap.Link("out").Attrs().Index
		devices, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: 1})
		if err != nil {
			b.Fatal(err)
		}
		defer devices.Close()
		tap.Do(func() {
			if err = devices.Put(uint32(0), uint32(out)); err == nil {
				err = c.setPeer(out)
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		without.program = bare(b, asm.LoadMapPtr(asm.R1, devices.FD()), asm.Mov.Imm(asm.R2, 0), asm.Mov.Imm(asm.R3, 0), asm.FnRedirectMap.Call(), asm.Return())
	}
	with := measured{program: c.objects.Tap}
	var attached link.Link
	device := tap.Link("tap")
	tap.Do(func() {
		attached, err = link.AttachXDP(link.XDPOptions{Program: without.program, Interface: device.Attrs().Index, Flags: link.XDPDriverMode})
	})
	if err != nil {
		b.Fatal(err)
	}
	defer attached.Close()
	for b.Loop() {
		if len(with.each) < maxRounds {
			without.round(b, attached, sender, flows)
			with.round(b, attached, sender, flows)
		}
	}
	carried, err := c.counters()
	if err != nil || carried.Carried == 0 || carried.Redirected > carried.Carried/100 {
		b.Errorf("%+v (%v): not carried", carried, err)
	}
	var ratios []float64
	for i := range with.rate {
		ratios = append(ratios, with.rate[i]/without.rate[i])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(without.each), "ns/bare")
	b.ReportMetric(median(with.each)-median(without.each), "ns/above")
	b.ReportMetric(median(ratios), "of-bare-rate")
}

// BenchmarkFlowProgram measures what the instructions of the program take for a packet of one flow that it carries, above those of one that
// only drops: the kernel runs both in turn on the same frame, without a driver.
func BenchmarkFlowProgram(b *testing.B) {
	const runs = 200_000
	for _, name := range []string{"UDP over IPv4", "TCP over IPv4", "TCP over IPv6"} {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			f := flowTable(b, 1, false)
			c := newCarrier(b, f, false)
			frame := segments[name].frame()
			key := keyOf(b, frame)
			flow := f.Add(&key)
			f.Follow(flow, segments[name].seq, 0)
			f.Resume(flow)
			without := bare(b, asm.Mov.Imm(asm.R0, actionDrop), asm.Return())
			var above []float64
			run := func(p *ebpf.Program) float64 {
				action, each, err := p.Benchmark(frame, runs, nil)
				if err != nil || action != actionDrop {
					b.Fatal(action, err)
				}
				return float64(each.Nanoseconds())
			}
			for b.Loop() {
				if len(above) < maxRounds {
					above = append(above, run(c.objects.Tap)-run(without))
					f.Take(flow) // it has room for 2^25 packets
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(above), "ns/above")
		})
	}
}

// BenchmarkFlowsTake measures taking out the counts of 100,000 flows that have carried something, one after another.
func BenchmarkFlowsTake(b *testing.B) {
	const flows = 100_000
	f := flowTable(b, flows, false)
	for b.Loop() {
		b.StopTimer()
		for i := range flows {
			atomic.StoreUint64(&f.records[1+i].Word, flowActive|1<<flowBytesBits|100)
		}
		b.StartTimer()
		for i := range flows {
			f.Take(uint32(1 + i))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/flows, "ns/flow")
}
