package worker

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/plugins/filterlog"
	"github.com/rtflow/pipelined/plugins/policydeny"
	"github.com/rtflow/pipelined/plugins/screendrop"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sources/afpacket"
	"github.com/rtflow/pipelined/sources/xdp"
	"github.com/rtflow/pipelined/xsk"
)

// pathConfig is 100 policies, 20 screens and 50 filter terms; the packets of the benchmarks get past all of them.
func pathConfig() string {
	var b strings.Builder
	b.WriteString(`
[zones.trust]
interfaces = ["tap"]
[zones.untrust]
prefixes = ["0.0.0.0/0"]

[hooks.screens]
plugin = "screendrop"
zones = ["trust"]
[hooks.screens.tcp]
syn-flood = true
port-scan = true
tcp-sweep = true
syn-fin = true
tcp-no-flag = true
fin-no-ack = true
land = true
winnuke = true
syn-frag = true
[hooks.screens.udp]
flood = { threshold = 4000000 }
[hooks.screens.icmp]
flood = true
ip-sweep = true
ping-death = true
fragment = true
large = true
[hooks.screens.ip]
bad-option = true
source-route-option = true
record-route-option = true
timestamp-option = true
unknown-protocol = true

[hooks.edge]
plugin = "filterlog"
`)
	for i := range 49 {
		fmt.Fprintf(&b, "[[hooks.edge.term]]\nname = \"t%d\"\n", i)
		switch i % 4 {
		case 0:
			fmt.Fprintf(&b, "from = { source-address = \"203.0.%d.0/24\" }\n", i)
		case 1:
			fmt.Fprintf(&b, "from = { protocol = \"tcp\", destination-port = %d }\n", 1000+i)
		case 2:
			fmt.Fprintf(&b, "from = { protocol = \"udp\", source-port = %d, packet-length = \"900-1500\" }\n", 100+i)
		default:
			fmt.Fprintf(&b, "from = { destination-address = \"10.%d.0.0/16\", dscp = \"ef\" }\n", i)
		}
		b.WriteString("then = [\"log\", \"discard\"]\n")
	}
	b.WriteString("[[hooks.edge.term]]\nname = \"rest\"\nthen = \"accept\"\n[hooks.policies]\nplugin = \"policydeny\"\n")
	for i := range 99 {
		fmt.Fprintf(&b, "[[hooks.policies.policy]]\nname = \"p%d\"\nfrom = \"trust\"\nto = \"untrust\"\nsource = \"10.1.%d.0/24\"\napplication = \"junos-https\"\nthen = \"deny\"\n", i, i)
	}
	b.WriteString("[[hooks.policies.policy]]\nname = \"all\"\nfrom = \"any\"\nto = \"any\"\nthen = \"permit\"\n")
	return b.String()
}

// pathWorker is a worker with the three real hooks on a source.
func pathWorker(b *testing.B, src source.FrameSource, ring *replay.Ring) *Worker {
	b.Helper()
	text := []byte(pathConfig())
	file, problems := config.Parse("path.toml", text)
	var zones []zone.Zone
	var ids []uint16
	for _, z := range file.Zones {
		zones = append(zones, zone.Zone{ID: z.ID, Name: z.Name, Interfaces: z.Interfaces, Prefixes: z.Prefixes})
		ids = append(ids, z.ID)
	}
	table := zone.New(zones, nil, nil)
	apps := application.Predefined()
	c := Config{Rules: Rules{Alone: true}, Source: src, Zones: table, Apps: apps}
	plugins := map[string]hook.Plugin{
		"screendrop": screendrop.Plugin(), "filterlog": filterlog.Plugin(), "policydeny": policydeny.Plugin(),
	}
	for _, component := range file.Hooks {
		h := plugins[component.Plugin].Configure(component.Section, hook.Env{
			Workers: 1, Zones: table, Apps: apps, Names: hook.NewNameBuilder(), Live: true,
		})
		if h.Ingress != nil {
			c.Ingress = append(c.Ingress, h.Ingress)
		}
		if h.Session != nil {
			c.Session = append(c.Session, h.Session)
		}
		if h.Egress != nil {
			c.Egress = append(c.Egress, h.Egress)
		}
	}
	if err := problems.Err(); err != nil {
		b.Fatal(err)
	}
	if len(c.Ingress) != 2 || len(c.Session) != 1 {
		b.Fatalf("%d ingress and %d session hooks", len(c.Ingress), len(c.Session))
	}
	g := admission.Config{Lanes: 1, Zones: ids, Sinks: []admission.Sink{{Name: "s", Ring: ring, Only: event.AllKinds}}}
	for k := range g.Rates {
		g.Rates[k] = admission.Rate{PerSecond: 1000, Burst: 1024}
	}
	var err error
	if c.Gate, err = admission.New(g); err != nil {
		b.Fatal(err)
	}
	c.Sessions = session.New(session.Config{Max: 1 << 18, Seed: 1, Workers: 1, Timeouts: session.DefaultTimeouts()})
	w := New(c)
	w.lane = c.Gate.Lane(context.Background(), 0)
	return w
}

func pathRing(b *testing.B) *replay.Ring {
	b.Helper()
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 1366})
	if err != nil {
		b.Fatal(err)
	}
	return ring
}

// memorySource hands out the same frames again and again.
type memorySource struct {
	frames [][]byte
	index  uint32
	now    int64
	next   int
}

func (s *memorySource) Receive(_ context.Context, b *packet.Batch, _ time.Duration) error {
	s.now += 20_000 // a batch of 64 each 20 µs: 3.2 million packets/s
	b.N, b.Now, b.Wall = packet.BatchSize, s.now, s.now
	for i := range b.Frames {
		f := s.frames[s.next]
		if s.next++; s.next == len(s.frames) {
			s.next = 0
		}
		b.Frames[i] = packet.Frame{Data: f, Wire: len(f), Time: s.now, Interface: s.index}
	}
	return nil
}

func (s *memorySource) Release() {}

// BenchmarkPacketPathHooks is decode, zone, session hit and three real hooks (100 policies, 20 screens, 50 filter terms),
// without a network interface.
func BenchmarkPacketPathHooks(b *testing.B) {
	for _, bm := range []struct {
		name  string
		flows int
		frame func(b *testing.B, i int) []byte
	}{{"flows=1", 1, benchFrame}, {"flows=1024", 1024, benchFrame}, {"datagrams=1024", 1024, benchDatagram}} {
		b.Run(bm.name, func(b *testing.B) {
			src := &memorySource{index: 1, now: 1e18}
			for i := range bm.flows {
				src.frames = append(src.frames, bm.frame(b, i))
			}
			ring := pathRing(b)
			w := pathWorker(b, src, ring)
			ctx := context.Background()
			for range bm.flows/packet.BatchSize + 1 {
				if err := w.step(ctx); err != nil {
					b.Fatal(err)
				}
			}
			// The flows are joined in the middle, which takes a while.
			src.now += int64(session.Late)
			if err := w.step(ctx); err != nil {
				b.Fatal(err)
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			b.ResetTimer()
			began := nettest.ThreadCPU(b)
			for n := 0; n < b.N; n += packet.BatchSize {
				if err := w.step(ctx); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(nettest.ThreadCPU(b)-began)/float64(b.N), "cpu-ns/pkt")
			b.StopTimer()
			if c := w.Counts(); c.Passed != c.Received {
				b.Fatalf("%d of %d packets passed", c.Passed, c.Received)
			}
		})
	}
}

// randomSource hands out segments of random ones of many flows. The frames stand in memory that is in the cache, as they do
// where a network card has just put them.
type randomSource struct {
	memorySource
	rng   *rand.Rand
	flows uint32 // a power of two
	next  uint32 // hands out every flow once before it is random
}

func (s *randomSource) Receive(ctx context.Context, b *packet.Batch, wait time.Duration) error {
	if err := s.memorySource.Receive(ctx, b, wait); err != nil {
		return err
	}
	for i := range b.Frames[:b.N] {
		flow := s.next
		if s.next++; flow >= s.flows {
			flow = s.rng.Uint32() & (s.flows - 1)
		}
		f := b.Frames[i].Data
		binary.BigEndian.PutUint32(f[26:], 10<<24|200<<16+flow>>4) // source address
		binary.BigEndian.PutUint16(f[34:], uint16(20000+flow&15))  // source port
	}
	return nil
}

// BenchmarkPacketPathSessions is [BenchmarkPacketPathHooks] with packets of random ones of many sessions.
func BenchmarkPacketPathSessions(b *testing.B) {
	for _, flows := range []uint32{1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("sessions=%d", flows), func(b *testing.B) {
			src := &randomSource{memorySource: memorySource{index: 1, now: 1e18}, rng: rand.New(rand.NewPCG(1, 1)), flows: flows}
			for range packet.BatchSize {
				src.frames = append(src.frames, benchFrame(b, 0))
			}
			ring := pathRing(b)
			w := pathWorker(b, src, ring)
			w.Sessions = session.New(session.Config{Max: 1 << 21, Seed: 1, Workers: 1, Timeouts: session.DefaultTimeouts()})
			ctx := context.Background()
			step := func() {
				if err := w.step(ctx); err != nil {
					b.Fatal(err)
				}
			}
			for range 2 * flows / packet.BatchSize { // the flows are joined in the middle, which takes a while
				src.now += int64(session.Late)
				step()
				acknowledgeAll(ring)
			}
			if got := w.Sessions.Stats(); got.Active != int(flows) {
				b.Fatalf("%+v, want %d sessions", got, flows)
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			b.ResetTimer()
			began := nettest.ThreadCPU(b)
			for n := 0; n < b.N; n += packet.BatchSize {
				step()
			}
			b.ReportMetric(float64(nettest.ThreadCPU(b)-began)/float64(b.N), "cpu-ns/pkt")
		})
	}
}

// acknowledgeAll takes everything out of the ring.
func acknowledgeAll(ring *replay.Ring) {
	for run := ring.Next(4096); run != nil; run = ring.Next(4096) {
		_ = ring.Ack(run[len(run)-1].Seq()) // what was just handed out
	}
}

// benchFrame is a TCP segment of an established flow.
func benchFrame(b *testing.B, i int) []byte {
	b.Helper()
	ip := ip4(fmt.Sprintf("10.200.%d.%d", i>>8&0xff, i&0xff), "198.51.100.7", layers.IPProtocolTCP)
	tcp := &layers.TCP{SrcPort: layers.TCPPort(20000 + i), DstPort: 443, ACK: true, Window: 100}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		b.Fatal(err)
	}
	return frame(b, ip, tcp, gopacket.Payload(make([]byte, 100)))
}

// benchDatagram is a UDP datagram, which the screen for floods counts.
func benchDatagram(b *testing.B, i int) []byte {
	return udpFrame(b, fmt.Sprintf("10.200.%d.%d", i>>8&0xff, i&0xff), uint16(20000+i), "198.51.100.7", 443, 100)
}

// BenchmarkPacketPathXDP is the same on a real veth pair, and beside it the bare receive loop: compare cpu-ns/pkt. The
// packets are UDP, because that is what the generator makes.
func BenchmarkPacketPathXDP(b *testing.B) {
	open := func(b *testing.B) (*nettest.Host, source.FrameSource) {
		nettest.Require(b)
		sender, tap := nettest.NewHost(b), nettest.NewHost(b)
		nettest.Cable(sender, "wire", tap, "tap", 1)
		var s *xdp.Source
		var err error
		tap.Do(func() {
			s, err = xdp.Open(b.Context(), xdp.Config{Device: xsk.Config{Interface: "tap", Attach: xsk.Native}, ID: 1})
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
		return sender, s.Queues()[0]
	}
	comparePath(b, open)
}

// BenchmarkPacketPathAFPacket is the same over packet sockets.
func BenchmarkPacketPathAFPacket(b *testing.B) {
	comparePath(b, func(b *testing.B) (*nettest.Host, source.FrameSource) {
		nettest.Require(b)
		sender, host := nettest.NewHost(b), nettest.NewHost(b)
		nettest.Cable(sender, "wire", host, "tap", 1)
		host.AcceptFlood("tap")
		var s *afpacket.Source
		var err error
		host.Do(func() {
			s, err = afpacket.Open(afpacket.Config{
				Interfaces: []afpacket.Interface{{Name: "tap", ID: 1}}, Workers: 1, RingSize: 16 << 20, SnapLength: 256,
			})
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
		return sender, s.Queues()[0]
	})
}

// comparePath drives a source with a bare receive loop, and with a worker behind it.
func comparePath(b *testing.B, open func(b *testing.B) (*nettest.Host, source.FrameSource)) {
	flood := nettest.Flood{Device: "wire", Flows: 1024}
	ctx := context.Background()
	b.Run("bare", func(b *testing.B) {
		sender, q := open(b)
		var batch packet.Batch
		nettest.Drive(b, sender, flood, func() (int, error) {
			err := q.Receive(ctx, &batch, 100*time.Millisecond)
			n := batch.N
			q.Release()
			return n, err
		})
	})
	b.Run("pipeline", func(b *testing.B) {
		sender, q := open(b)
		ring := pathRing(b)
		w := pathWorker(b, q, ring)
		b.ReportAllocs()
		nettest.Drive(b, sender, flood, func() (int, error) {
			err := w.step(ctx)
			acknowledgeAll(ring)
			return w.batch.N, err
		})
		if c := w.Counts(); c.Passed != c.Received {
			b.Fatalf("%d of %d packets passed", c.Passed, c.Received)
		}
	})
}
