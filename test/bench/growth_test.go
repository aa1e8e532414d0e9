package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/plugins/policydeny"
	"github.com/rtflow/pipelined/sdk/event"
)

// services are what the policies of [ruleBase] permit, in turn.
var services = [...]struct {
	name string
	port uint16
}{{"junos-ssh", 22}, {"junos-https", 443}, {"junos-http", 80}, {"junos-telnet", 23}, {"junos-smtp", 25}}

// ruleBase is a table of n policies between two zones: each permits a service from a network to a host.
func ruleBase(n int) string {
	var b strings.Builder
	b.WriteString("[hooks.policies]\nplugin = \"policydeny\"\npolicy = [\n")
	for i := range n {
		fmt.Fprintf(&b, "{ name = \"p%d\", from = \"trust\", to = \"untrust\", source = \"10.%d.%d.0/24\", destination = \"198.%d.%d.%d\", application = %q, then = \"permit\" },\n",
			i, i>>8&255, i&255, 18+i>>16, i>>8&255, i&255, services[i%len(services)].name)
	}
	b.WriteString("{ name = \"dns\", from = \"any\", to = \"any\", application = \"junos-dns-udp\", then = \"permit\" },\n]\n")
	return b.String()
}

// rig builds workers over one table of zones and one rule base.
type rig struct {
	zones    *zone.Table
	apps     *application.Table
	policies hook.SessionHook
}

func newRig(tb testing.TB, zones []zone.Zone, table string) *rig {
	return newRigFor(tb, 1, zones, table)
}

func newRigFor(tb testing.TB, workers int, zones []zone.Zone, table string) *rig {
	tb.Helper()
	r := &rig{zones: zone.New(zones, nil, nil), apps: application.Predefined()}
	section, problems := config.ParseTable("growth.toml", []byte(table), "hooks", "policies")
	r.policies = policydeny.Plugin().Configure(section, hook.Env{
		Workers: workers, Zones: r.zones, Apps: r.apps, Names: hook.NewNameBuilder(), Live: true,
	}).Session
	if err := problems.Err(); err != nil {
		tb.Fatal(err)
	}
	return r
}

// workers returns a worker for each source, all with one table of sessions and one gate.
func (r *rig) workers(tb testing.TB, sources ...*source) []*worker.Worker {
	tb.Helper()
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 1366})
	if err != nil {
		tb.Fatal(err)
	}
	c := admission.Config{Lanes: len(sources), Sinks: []admission.Sink{{Name: "s", Ring: ring, Only: event.AllKinds}}}
	for _, z := range r.zones.Zones() {
		c.Zones = append(c.Zones, z.ID)
	}
	for k := range c.Rates {
		c.Rates[k] = admission.Rate{PerSecond: 1000, Burst: 1024}
	}
	gate, err := admission.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	sessions := session.New(session.Config{Max: 1 << 16, Seed: 1, Workers: len(sources), Timeouts: session.DefaultTimeouts()})
	var all []*worker.Worker
	for i, src := range sources {
		all = append(all, worker.New(worker.Config{
			Index: i, Lane: i, Source: src, Zones: r.zones, Apps: r.apps, Gate: gate, Rules: worker.Rules{Session: []hook.SessionHook{r.policies}},
			Sessions: sessions,
		}))
	}
	return all
}

// source makes packets in memory until there were enough of them.
type source struct {
	left   int
	warmUp int          // packets before those that are left
	began  int64        // CPU time of the thread when they were carried
	index  uint32       // of the interface
	fill   func(*frame) // makes the next packet of the frame
	frames [packet.BatchSize]frame
	now    int64
}

func (s *source) Receive(_ context.Context, b *packet.Batch, _ time.Duration) error {
	if s.left <= 0 {
		return io.EOF
	}
	s.now += 20_000 // a batch of 64 each 20 µs: 3.2 million packets a second
	b.N, b.Now, b.Wall = packet.BatchSize, s.now, s.now
	if s.warmUp > 0 {
		s.warmUp -= b.N
	} else {
		if s.began == 0 {
			s.began = cpu()
		}
		s.left -= b.N
	}
	for i := range b.Frames {
		f := &s.frames[i]
		s.fill(f)
		b.Frames[i] = packet.Frame{Data: f[:], Wire: len(f), Time: s.now, Interface: s.index}
	}
	return nil
}

func (s *source) Release() {}

// frame is an Ethernet frame with a VLAN tag and an IPv4 packet.
type frame [14 + 4 + 20 + 20]byte

const (
	tcp = packet.ProtoTCP
	udp = packet.ProtoUDP
)

// set makes the frame a TCP segment with SYN, or a UDP datagram.
func (f *frame) set(tag uint16, proto byte, src, dst uint32, srcPort, dstPort uint16) {
	copy(f[12:], []byte{0x81, 0, byte(tag >> 8), byte(tag), 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, proto})
	binary.BigEndian.PutUint32(f[30:], src)
	binary.BigEndian.PutUint32(f[34:], dst)
	binary.BigEndian.PutUint16(f[38:], srcPort)
	binary.BigEndian.PutUint16(f[40:], dstPort)
	if proto == udp {
		copy(f[42:], []byte{0, 20, 0, 0})
	} else {
		copy(f[42:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0x50, packet.SYN})
	}
}

// policy makes the frame a packet between the addresses of policy i, whatever it permits.
func (f *frame) policy(i int, proto byte, host byte, srcPort, dstPort uint16) {
	src := 10<<24 | uint32(i>>8&255)<<16 | uint32(i&255)<<8 | uint32(host)
	dst := 198<<24 | uint32(18+i>>16)<<16 | uint32(i>>8&255)<<8 | uint32(i&255)
	f.set(0, proto, src, dst, srcPort, dstPort)
}

// measure carries b.N packets on a thread of its own, after as many as a table of sessions needs to have them all, and reports the CPU
// time of each. want is the part of them that must pass.
func (r *rig) measure(b *testing.B, want float64, fill func(*frame)) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	src := &source{left: b.N, warmUp: warmUp, fill: fill, now: 1e18, index: r.zones.Index("trunk0")}
	w := r.workers(b, src)[0]
	if err := w.Run(context.Background()); err != nil {
		b.Fatal(err)
	}
	used, c := cpu()-src.began, w.Counts()
	b.ReportMetric(float64(used)/float64(c.Received-warmUp), "cpu-ns/pkt")
	if got := float64(c.Passed) / float64(c.Received); c.Received > warmUp+1000 && (got < want-0.01 || got > want+0.01) {
		b.Fatalf("%d of %d packets passed", c.Passed, c.Received)
	}
}

// warmUp is how many packets a worker carries before those that are measured: enough for each of some thousand flows.
const warmUp = 1 << 16

// cpu returns the CPU time that the thread has used, in nanoseconds.
func cpu() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u) // fails for arguments only
	return u.Utime.Nano() + u.Stime.Nano()
}

var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

var growthZones = []zone.Zone{
	{ID: 1, Name: "trust", Interfaces: []string{"trunk0"}}, {ID: 2, Name: "untrust", Interfaces: []string{"wan0"}},
}

// BenchmarkGrowthPolicies carries packets past rule bases of many sizes:
//
//	first    the first packets of flows that a policy permits, each policy as often as the others, so that hardly anything of a
//	         large rule base is in a cache
//	skewed   the same, but most packets are of few policies, as in most networks: Zipf's law with exponent 1.1
//	denied   the first packets of flows between the addresses of a policy, with a service of other policies
//	unnamed  the first packets of flows with a service that no policy names
//	again    one flow that is denied again and again
//	session  one flow that has a session
func BenchmarkGrowthPolicies(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000, 100_000} {
		var r *rig
		run := func(name string, passed float64, fill func(*frame)) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				if r == nil { // as late as that, so that what is not asked for is not built
					zones := append([]zone.Zone{}, growthZones...)
					zones[1].Prefixes = everywhere
					r = newRig(b, zones, ruleBase(n))
					runtime.GC() // what is left of reading the configuration: a daemon has done it when packets come
				}
				r.measure(b, passed, fill)
			})
		}
		random := uint32(1)
		next := func() int {
			random = random*1664525 + 1013904223
			return int(random>>8) % n
		}
		permitted := func(f *frame, i int) {
			f.policy(i, tcp, byte(random), uint16(random), services[i%len(services)].port)
		}
		run("first", 1, func(f *frame) { permitted(f, next()) })
		skewed, drawn := zipf(n), 0
		run("skewed", 1, func(f *frame) {
			next()
			drawn++
			permitted(f, int(skewed[drawn%len(skewed)]))
		})
		run("denied", 0, func(f *frame) {
			i := next()
			f.policy(i, tcp, byte(random), uint16(random), services[(i+1)%len(services)].port)
		})
		run("unnamed", 0, func(f *frame) { f.policy(next(), tcp, byte(random), uint16(random), 9999) })
		run("again", 0, func(f *frame) { f.policy(n/2, tcp, 1, 40000, 9999) })
		run("session", 1, func(f *frame) { f.policy(n/2, udp, 1, 40000, 53) })
	}
}

// zipf draws policies by Zipf's law, beforehand because a draw takes longer than a lookup. Which of the policies are frequent
// is spread over all of them.
func zipf(n int) []uint32 {
	const draws = 1 << 16
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.1, 1, uint64(n-1))
	byRank := r.Perm(n)
	list := make([]uint32, draws)
	for i := range list {
		list[i] = uint32(byRank[z.Uint64()])
	}
	return list
}

// BenchmarkGrowthVLANs carries packets of 4,000 sessions, which arrive in some VLANs of one interface.
func BenchmarkGrowthVLANs(b *testing.B) {
	for _, n := range []int{2, 10, 100, 1000, 4000} {
		zones := append([]zone.Zone{}, zone.Zone{ID: uint16(n + 1), Name: "untrust", Prefixes: everywhere})
		for tag := range n {
			name := fmt.Sprintf("trunk0.%d", tag+1)
			zones = append(zones, zone.Zone{ID: uint16(tag + 1), Name: name, Interfaces: []string{name}})
		}
		r := newRig(b, zones, ruleBase(0))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			random := uint32(1)
			r.measure(b, 1, func(f *frame) {
				random = random*1664525 + 1013904223
				flow := random >> 8 % 4000
				f.set(uint16(flow)%uint16(n)+1, udp, 10<<24|flow, 198<<24, 40000, 53)
			})
		})
	}
}

// BenchmarkGrowthWorkers carries packets of the same 4,096 sessions by one worker and by two: each of the two gets both
// directions of every session, which is harder for them than what a network card does.
func BenchmarkGrowthWorkers(b *testing.B) {
	for _, n := range []int{1, 2} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			zones := append([]zone.Zone{}, growthZones...)
			zones[1].Prefixes = everywhere
			r := newRigFor(b, n, zones, ruleBase(100))
			var sources []*source
			for i := range n {
				random := uint32(i)
				sources = append(sources, &source{left: b.N, now: 1e18, index: r.zones.Index("trunk0"), fill: func(f *frame) {
					random = random*1664525 + 1013904223
					client, server := 10<<24|random>>8%4096, uint32(198<<24)
					if random>>30 == 0 {
						f.set(0, udp, server, client, 53, 40000)
					} else {
						f.set(0, udp, client, server, 40000, 53)
					}
				}})
			}
			used := make(chan int64)
			for _, w := range r.workers(b, sources...) {
				go func() {
					runtime.LockOSThread()
					defer runtime.UnlockOSThread()
					began := cpu()
					if err := w.Run(context.Background()); err != nil {
						b.Error(err)
					}
					used <- cpu() - began
				}()
			}
			sum := int64(0)
			for range n {
				sum += <-used
			}
			b.ReportMetric(float64(sum)/float64(n*b.N), "cpu-ns/pkt")
		})
	}
}
