package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

// Clocks of every test: the source's begins at start, and the wall clock is wallOffset ahead of it.
const (
	start      = int64(5_000_000_000_000)
	wallOffset = int64(1_700_000_000_000_000_000)
)

// Zones of every test. lan0 is trust but for its VLAN 30, wan0 is untrust, and 198.51.100.0/24 lies behind untrust.
const (
	trust   = 1
	untrust = 2
	dmz     = 3
)

const client, server = "192.0.2.10", "198.51.100.1"

// fakeSource hands out batches, and then ends with err: with the last batch if together, or with an empty one.
type fakeSource struct {
	t        testing.TB
	batches  [][]packet.Frame
	now      []int64 // of each batch; the time of its last frame if it is not there
	err      error
	together bool
	waits    []time.Duration
	lent     bool
	next     int
	onEmpty  func() // called when the batches are used up
	// onReceive, if set, is called at each Receive.
	onReceive func()
}

func (s *fakeSource) Receive(_ context.Context, b *packet.Batch, timeout time.Duration) error {
	if s.lent {
		s.t.Error("Receive before the last batch was released")
	}
	s.waits = append(s.waits, timeout)
	if s.onReceive != nil {
		s.onReceive()
	}
	if s.next == len(s.batches) {
		if s.onEmpty != nil {
			s.onEmpty()
		}
		s.lent = s.err == nil
		return s.err // b.N as the worker left it
	}
	frames := s.batches[s.next]
	b.N = copy(b.Frames[:], frames)
	if s.next < len(s.now) {
		b.Now = s.now[s.next]
	} else if b.N > 0 {
		b.Now = frames[b.N-1].Time
	}
	b.Wall = b.Now + wallOffset
	s.next++
	s.lent = true
	if s.together && s.next == len(s.batches) {
		return s.err
	}
	return nil
}

// Release takes the frames back and spoils them: nobody may look at them any more.
func (s *fakeSource) Release() {
	if !s.lent {
		s.t.Error("Release without Receive")
	}
	s.lent = false
	for _, f := range s.batches[s.next-1] {
		clear(f.Data)
	}
}

type hookFunc func(p *hook.Packet, f *hook.Finding) hook.Verdict

func (h hookFunc) Inspect(p *hook.Packet, f *hook.Finding) hook.Verdict { return h(p, f) }

type sessionFunc func(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict

func (h sessionFunc) Decide(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
	return h(p, permit, f)
}

func (h sessionFunc) Denied(*hook.Packet, *hook.Finding) {}

// rig is a worker with a fake source, real tables and one real ring.
type rig struct {
	*Worker
	t      testing.TB
	source *fakeSource
	ring   *replay.Ring
	gate   *admission.Gate
	zones  *zone.Table
}

type option func(*Config, *session.Config)

func newRig(t testing.TB, opts ...option) *rig {
	t.Helper()
	return newRigLimited(t, roomy, admission.Rate{}, opts...)
}

// roomy are the limits of a ring that holds what any test makes.
var roomy = replay.Limits{Slots: 1 << 15, Telemetry: 1 << 14, PerKind: 1 << 14}

// newRigLimited is newRig with the limits of the ring, and one for the records of unanswered sessions.
func newRigLimited(t testing.TB, limits replay.Limits, unanswered admission.Rate, opts ...option) *rig {
	t.Helper()
	ring, err := replay.New(limits)
	if err != nil {
		t.Fatal(err)
	}
	g := admission.Config{Lanes: 2, Zones: []uint16{trust, untrust, dmz}, Generation: 9, Options: admission.Options{Unanswered: unanswered}}
	for _, k := range event.Kinds() {
		g.Rates[k] = admission.Rate{PerSecond: 1e9, Burst: 1e9}
	}
	g.Sinks = []admission.Sink{{Name: "sink", Ring: ring, Only: event.AllKinds}}
	gate, err := admission.New(g)
	if err != nil {
		t.Fatal(err)
	}
	zones := zone.New([]zone.Zone{
		{ID: trust, Name: "trust", Interfaces: []string{"lan0"}},
		{ID: untrust, Name: "untrust", Interfaces: []string{"wan0"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:2::/48")}},
		{ID: dmz, Name: "dmz", Interfaces: []string{"lan0.30"}},
	}, nil, map[string]uint32{"lan0": 11, "wan0": 12})
	sessions := session.Config{Max: 1 << 14, Seed: 1, Workers: 1, Timeouts: session.DefaultTimeouts()}
	source := &fakeSource{t: t, err: io.EOF}
	c := Config{Rules: Rules{Alone: true}, Source: source, Gate: gate, Zones: zones, Apps: application.Predefined(), Seed: 1}
	for _, o := range opts {
		o(&c, &sessions)
	}
	c.Sessions = session.New(sessions)
	return &rig{Worker: New(c), t: t, source: source, ring: ring, gate: gate, zones: zones}
}

func complete(c *Config, _ *session.Config) { c.Complete = true }

// ofTwo makes the worker one of two that share a session table.
func ofTwo(index int) option {
	return func(c *Config, s *session.Config) { c.Index, c.Alone, s.Workers = index, false, 2 }
}

func ingress(h hookFunc) option {
	return func(c *Config, _ *session.Config) { c.Ingress = append(c.Ingress, h) }
}

func egress(h hookFunc) option {
	return func(c *Config, _ *session.Config) { c.Egress = append(c.Egress, h) }
}

func policy(h sessionFunc) option {
	return func(c *Config, _ *session.Config) { c.Session = append(c.Session, h) }
}

// batch adds a batch to the source: the frames come in on lan0 at times after start.
func (r *rig) batch(frames ...timed) {
	var b []packet.Frame
	for _, f := range frames {
		on := f.on
		if on == "" {
			on = "lan0"
		}
		// A copy: the source spoils what it gets back.
		b = append(b, packet.Frame{
			Data: slices.Clone(f.data), Wire: len(f.data), Time: start + int64(f.at), Interface: r.zones.Index(on),
		})
	}
	r.source.batches = append(r.source.batches, b)
}

// timeout adds a batch without frames at a time after start.
func (r *rig) timeout(at time.Duration) {
	for len(r.source.now) < len(r.source.batches) {
		b := r.source.batches[len(r.source.now)]
		r.source.now = append(r.source.now, b[len(b)-1].Time)
	}
	r.source.batches = append(r.source.batches, nil)
	r.source.now = append(r.source.now, start+int64(at))
}

type timed struct {
	at   time.Duration
	data []byte
	on   string
}

// run runs the worker until its source ends and returns the records.
func (r *rig) run() []event.Record {
	r.t.Helper()
	if err := r.Run(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.checkP1()
	return r.drain()
}

// drain reads and acknowledges what is in the ring.
func (r *rig) drain() (records []event.Record) {
	r.t.Helper()
	for {
		run := r.ring.Next(1 << 16)
		if run == nil {
			return records
		}
		records = append(records, run...)
		if err := r.ring.Ack(run[len(run)-1].Seq()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// checkP1 checks the sum of packets, and that no event was lost.
func (r *rig) checkP1() {
	r.t.Helper()
	c := r.Counts()
	sum := c.Forwarded + c.NotSent + c.Passed + c.Refused()
	for _, n := range c.Dropped {
		sum += n
	}
	if sum != c.Received {
		r.t.Errorf("P1: received %d, but forwarded + not sent + passed + dropped + refused = %d: %+v", c.Received, sum, c)
	}
	led := r.gate.Ledger()
	for _, k := range event.Kinds() {
		if k != event.Loss && (led.Offered[k] != led.RateLimited[k]+led.Admitted[k] || led.Sinks[0].Queued[k] != led.Admitted[k]) {
			r.t.Errorf("P1: %v: offered %d, limited %d, queued %d", k, led.Offered[k], led.RateLimited[k], led.Sinks[0].Queued[k])
		}
	}
}

// frame builds an Ethernet frame from layers, lengths and checksums filled in.
func frame(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6)}
	switch first := parts[0].(type) {
	case *layers.IPv4:
		eth.EthernetType = layers.EthernetTypeIPv4
	case *layers.IPv6:
		eth.EthernetType = layers.EthernetTypeIPv6
	case *layers.Dot1Q:
		eth.EthernetType = layers.EthernetTypeDot1Q
	case *layers.ARP:
		eth.EthernetType = layers.EthernetTypeARP
	default:
		t.Fatalf("a frame cannot begin with %T", first)
	}
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, append([]gopacket.SerializableLayer{eth}, parts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ip4(src, dst string, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{
		Version: 4, IHL: 5, TTL: 64, Protocol: proto,
		SrcIP: netip.MustParseAddr(src).AsSlice(), DstIP: netip.MustParseAddr(dst).AsSlice(),
	}
}

func ip6(src, dst string, proto layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, HopLimit: 64, NextHeader: proto,
		SrcIP: netip.MustParseAddr(src).AsSlice(), DstIP: netip.MustParseAddr(dst).AsSlice(),
	}
}

func udpFrame(t testing.TB, src string, srcPort uint16, dst string, dstPort uint16, data int) []byte {
	return frame(t, ip4(src, dst, layers.IPProtocolUDP),
		&layers.UDP{SrcPort: layers.UDPPort(srcPort), DstPort: layers.UDPPort(dstPort)}, gopacket.Payload(make([]byte, data)))
}

func tcpFrame(t testing.TB, src string, srcPort uint16, dst string, dstPort uint16, flags uint8) []byte {
	return frame(t, ip4(src, dst, layers.IPProtocolTCP), &layers.TCP{
		SrcPort: layers.TCPPort(srcPort), DstPort: layers.TCPPort(dstPort), DataOffset: 5,
		FIN: flags&packet.FIN != 0, SYN: flags&packet.SYN != 0, RST: flags&packet.RST != 0, ACK: flags&packet.ACK != 0,
	})
}

func echoFrame(t testing.TB, src, dst string, typ uint8, id, seq uint16) []byte {
	return frame(t, ip4(src, dst, layers.IPProtocolICMPv4),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, 0), Id: id, Seq: seq})
}

// errorFrame returns an ICMP error from a router about a frame, which it quotes from the IP header on.
func errorFrame(t testing.TB, dst string, typ, code uint8, about []byte) []byte {
	return frame(t, ip4("203.0.113.1", dst, layers.IPProtocolICMPv4),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, code)}, gopacket.Payload(about[14:]))
}

// fragmentFrames returns a UDP datagram of 1,000 bytes in two fragments.
func fragmentFrames(t testing.TB, src string, srcPort uint16, dst string, dstPort uint16, id uint16) (first, second []byte) {
	ip := ip4(src, dst, layers.IPProtocolUDP)
	ip.Id, ip.Flags = id, layers.IPv4MoreFragments
	first = frame(t, ip, &layers.UDP{SrcPort: layers.UDPPort(srcPort), DstPort: layers.UDPPort(dstPort)}, gopacket.Payload(make([]byte, 592)))
	ip = ip4(src, dst, layers.IPProtocolUDP)
	ip.Id, ip.FragOffset = id, 75
	return first, frame(t, ip, gopacket.Payload(make([]byte, 400)))
}

// line is a record in a form that a test can compare at a glance.
func line(r *event.Record) string {
	at := time.Duration(r.Time() - wallOffset - start)
	flow := fmt.Sprintf("%s:%d>%s:%d/%d", r.Src(), r.SrcPort(), r.Dst(), r.DstPort(), r.Proto())
	s := fmt.Sprintf("%v %v %s zones %d>%d if %d", at.Round(time.Second), r.Kind(), flow, r.InZone(), r.OutZone(), r.Interface())
	switch r.Kind() {
	case event.SessionOpen:
		s += fmt.Sprintf(" id %d policy %d app %s", r.SessionID(), r.Policy(), appName(r))
	case event.SessionClose:
		s += fmt.Sprintf(" id %d policy %d app %s %d/%d %d/%d %ds why %d", r.SessionID(), r.Policy(), appName(r),
			r.ClientPackets(), r.ClientBytes(), r.ServerPackets(), r.ServerBytes(), r.Elapsed(), r.CloseReason())
	case event.PolicyDeny:
		s += fmt.Sprintf(" id %d policy %d app %s action %d icmp %d", r.SessionID(), r.Policy(), appName(r), r.Action(), r.ICMPType())
	case event.ScreenDrop:
		s += fmt.Sprintf(" screen %v action %d app %s", r.Screen(), r.Action(), appName(r))
	case event.FilterLog:
		s += fmt.Sprintf(" filter %d/%d at %d action %d icmp %d/%d", r.Filter(), r.Term(), r.FilterSource(), r.Action(), r.ICMPType(), r.ICMPCode())
	}
	return s
}

func appName(r *event.Record) string {
	return cmp.Or(application.Predefined().Names()[r.Application()], "-")
}

func lines(records []event.Record) (all []string) {
	for i := range records {
		all = append(all, line(&records[i]))
	}
	return all
}

var errBroken = errors.New("the device is gone")
