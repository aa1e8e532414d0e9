package worker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk/event"
)

// fakeForwarder is a fakeSource in the path of its frames. Of each batch it sends as many as it has room for.
type fakeForwarder struct {
	*fakeSource
	room     int
	peers    map[uint32]uint32
	verdicts []source.Verdict
	acted    int // batches
}

func (f *fakeForwarder) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	err := f.fakeSource.Receive(ctx, b, timeout)
	for i := range b.Frames[:b.N] {
		b.Frames[i].LeavesBy = f.peers[b.Frames[i].Interface]
	}
	return err
}

func (f *fakeForwarder) Forward(verdicts []source.Verdict) (notSent int) {
	if f.next--; len(verdicts) != len(f.batches[f.next]) {
		f.t.Errorf("%d verdicts about %d frames", len(verdicts), len(f.batches[f.next]))
	}
	if f.next++; !f.lent || f.acted == f.next {
		f.t.Error("Forward after Release, or twice")
	}
	f.acted = f.next
	f.verdicts = append(f.verdicts, verdicts...)
	room := f.room
	for _, v := range verdicts {
		if v == source.Forward {
			if room--; room < 0 {
				notSent++
			}
		}
	}
	return notSent
}

// inPath makes the source one in the path of its frames, which it sends on by wan0 if they come in by lan0, and the other way round.
func inPath(t testing.TB, opts ...option) (*rig, *fakeForwarder) {
	var f *fakeForwarder
	r := newRig(t, append(opts, func(c *Config, _ *session.Config) {
		f = &fakeForwarder{fakeSource: c.Source.(*fakeSource), room: packet.BatchSize}
		c.Source = f
	})...)
	lan, wan := r.zones.Index("lan0"), r.zones.Index("wan0")
	f.peers = map[uint32]uint32{lan: wan, wan: lan}
	return r, f
}

const (
	fwd    = source.Forward
	drop   = source.Drop
	reject = source.Reject
)

func arpFrame(t testing.TB) []byte {
	return frame(t, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: 1,
		SourceHwAddress: make([]byte, 6), SourceProtAddress: make([]byte, 4), DstHwAddress: make([]byte, 6), DstProtAddress: make([]byte, 4),
	})
}

func TestP1Forward(t *testing.T) {
	judge := func(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
		if p.DstPort == 23 {
			*f = hook.Finding{Found: true, Kind: event.PolicyDeny, Policy: 9}
			return hook.Reject
		}
		return outbound(p, permit, f)
	}
	screen := func(p *hook.Packet, f *hook.Finding) hook.Verdict {
		if p.DstPort == 7 {
			*f = hook.Finding{Found: true, Kind: event.ScreenDrop}
			return hook.Drop
		}
		return hook.Pass
	}
	filter := func(p *hook.Packet, _ *hook.Finding) hook.Verdict {
		if p.DstPort == 9 {
			return hook.Reject
		}
		return hook.Pass
	}
	r, f := inPath(t, policy(judge), ingress(screen), egress(filter))
	f.room = 3
	short := tcpFrame(t, client, 1003, server, 80, syn)
	short[14+20+12] = 0x40 // a header of 16 bytes
	r.batch(
		timed{0, arpFrame(t), ""},
		timed{0, tcpFrame(t, client, 1000, server, 80, syn), ""},
		timed{0, tcpFrame(t, client, 1001, server, 23, syn), ""},
		timed{0, udpFrame(t, client, 1002, server, 7, 10), ""},
		timed{0, udpFrame(t, client, 1002, server, 9, 10), ""},
		timed{0, short, ""},
		timed{0, short[:20], ""},
		timed{0, tcpFrame(t, server, 80, client, 1000, syn|ack), "wan0"},
		timed{0, tcpFrame(t, server, 80, client, 2000, syn), "wan0"},
		timed{0, tcpFrame(t, client, 1000, server, 80, ack), ""},
	)
	r.run()
	if diff := cmp.Diff([]source.Verdict{fwd, fwd, reject, drop, reject, drop, drop, fwd, drop, fwd}, f.verdicts); diff != "" {
		t.Error(diff)
	}
	got := r.Counts()
	if got.Received != 10 || got.Forwarded != 3 || got.NotSent != 1 || got.Passed != 0 || got.Refused() != 2 || got.Causes[packet.NotIP] != 1 ||
		got.Dropped != [hook.NumSites]uint64{hook.Ingress: 1, hook.Session: 2, hook.Egress: 1} {
		t.Errorf("%+v", got)
	}
}

// A frame that is not sent by its batch is not sent at all, so nothing may wait: what belongs to no session is decided by what is
// known at once.
func TestForwardAtOnce(t *testing.T) {
	_, second := fragmentFrames(t, client, 1000, server, 53, 5)
	request, answer := udpFrame(t, client, 40000, server, 53, 32), udpFrame(t, server, 53, client, 40000, 32)
	denied := "0s policy-deny 198.51.100.1:53>192.0.2.10:40000/17 zones 2>1 if 12 id 1 policy 8 app - action 0 icmp 0"
	for _, c := range []struct {
		name   string
		frames []timed
		want   []source.Verdict
		lines  []string
	}{
		{"SYN-ACK", []timed{{0, tcpFrame(t, server, 443, client, 1000, syn|ack), "wan0"}}, []source.Verdict{drop}, nil},
		{"ACK", []timed{{0, tcpFrame(t, client, 1000, server, 443, ack), ""}}, []source.Verdict{drop}, nil},
		{"RST", []timed{{0, tcpFrame(t, client, 1000, server, 443, packet.RST), ""}}, []source.Verdict{drop}, nil},
		{"echo reply", []timed{{0, echoFrame(t, server, client, 0, 1, 1), "wan0"}}, []source.Verdict{drop}, nil},
		{"ICMP error", []timed{{0, errorFrame(t, client, 3, 1, request), "wan0"}}, []source.Verdict{drop}, nil},
		{"later fragment", []timed{{0, second, ""}}, []source.Verdict{drop}, nil},
		{"what could be an answer", []timed{{0, answer, "wan0"}}, []source.Verdict{drop}, []string{denied}},
		{"answer", []timed{{0, request, ""}, {0, answer, "wan0"}}, []source.Verdict{fwd, fwd}, []string{
			"0s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 7 app junos-dns-udp"}},
	} {
		for _, workers := range []struct {
			name string
			opts []option
		}{{"alone", nil}, {"one of two", []option{ofTwo(0)}}} {
			t.Run(c.name+", "+workers.name, func(t *testing.T) {
				r, f := inPath(t, append(workers.opts, synCheck, policy(outbound))...)
				r.batch(c.frames...)
				records := r.run()
				if diff := cmp.Diff(c.want, f.verdicts); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(c.lines, lines(records)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// What a server sends over UDP at the start is the answer to a client of a session that was there before, if a policy permits that client.
func TestAdoptUDP(t *testing.T) {
	adopt := func(c *Config, _ *session.Config) { c.Adopt = 30 * time.Second }
	r, f := inPath(t, adopt, policy(outbound))
	r.batch(timed{0, arpFrame(t), ""}) // the start
	r.batch(
		timed{29 * time.Second, udpFrame(t, server, 53, client, 40000, 10), "wan0"},
		timed{29 * time.Second, udpFrame(t, client, 40000, server, 53, 10), ""},
		timed{29 * time.Second, udpFrame(t, server, 53, client, 53, 10), "wan0"},       // by its ports from nobody's server
		timed{29 * time.Second, udpFrame(t, server, 40000, client, 53, 10), "wan0"},    // to a server
		timed{29 * time.Second, udpFrame(t, server, 40000, client, 50000, 10), "wan0"}, // nobody knows
		timed{29 * time.Second, echoFrame(t, server, client, 0, 1, 1), "wan0"},
	)
	r.batch(
		timed{30 * time.Second, udpFrame(t, server, 53, client, 40001, 10), "wan0"},
		timed{30 * time.Second, udpFrame(t, server, 53, client, 40000, 10), "wan0"},
	)
	records := r.run()
	if diff := cmp.Diff([]source.Verdict{fwd, fwd, fwd, drop, drop, drop, drop, drop, fwd}, f.verdicts); diff != "" {
		t.Error(diff)
	}
	if got := lines(records); len(got) == 0 || got[0] != "29s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 0 id 1 policy 7 app junos-dns-udp" {
		t.Errorf("%q", got)
	}
}

// Sessions that were there before the start go on; later, TCP begins with a SYN.
func TestAdopt(t *testing.T) {
	adopt := func(c *Config, _ *session.Config) { c.Adopt = 30 * time.Second }
	r, f := inPath(t, adopt, policy(func(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
		if p.SrcPort == 23 || p.DstPort == 23 {
			return hook.Drop
		}
		return outbound(p, permit, f)
	}))
	r.batch(timed{0, arpFrame(t), ""}) // the start
	r.batch(
		timed{29 * time.Second, tcpFrame(t, client, 1000, server, 443, ack), ""},
		timed{29 * time.Second, tcpFrame(t, server, 443, client, 1001, ack), "wan0"},
		timed{29 * time.Second, tcpFrame(t, client, 2000, server, 23, ack), ""}, // a policy denies it in both directions
		timed{29 * time.Second, tcpFrame(t, client, 1003, server, 443, packet.RST), ""},
	)
	r.batch(
		timed{30 * time.Second, tcpFrame(t, client, 1002, server, 443, ack), ""},
		timed{30 * time.Second, tcpFrame(t, client, 1004, server, 443, packet.RST), ""},
		timed{30 * time.Second, tcpFrame(t, server, 443, client, 1000, ack), "wan0"},
		timed{30 * time.Second, tcpFrame(t, client, 1002, server, 443, syn), ""},
	)
	r.run()
	if diff := cmp.Diff([]source.Verdict{fwd, fwd, fwd, drop, drop, drop, drop, fwd, fwd}, f.verdicts); diff != "" {
		t.Error(diff)
	}
	if c := r.Counts(); c.OutOfState != 2 || c.Strays != 2 {
		t.Errorf("%+v", c)
	}
}

// A reset of no session does not cross, whatever else may join a session in the middle.
func TestForwardNoStrayReset(t *testing.T) {
	for name, o := range map[string]option{
		"adopt":        func(c *Config, _ *session.Config) { c.Adopt = time.Minute },
		"no syn_check": func(c *Config, _ *session.Config) { c.SynCheck = new(false) },
	} {
		t.Run(name, func(t *testing.T) {
			r, f := inPath(t, policy(outbound), o)
			r.batch(
				timed{time.Second, tcpFrame(t, server, 80, client, 999, rst), "wan0"},
				timed{time.Second, tcpFrame(t, client, 999, server, 80, rst|ack), ""},
				timed{time.Second, tcpFrame(t, client, 999, server, 80, ack), ""},
				timed{time.Second, tcpFrame(t, server, 80, client, 999, rst), "wan0"}, // of a session
			)
			r.run()
			if diff := cmp.Diff([]source.Verdict{drop, drop, fwd, fwd}, f.verdicts); diff != "" {
				t.Error(diff)
			}
			if c := r.Counts(); c.Strays != 2 || c.Dropped[hook.Session] != 2 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// What would begin a session that the table has no room for is dropped, and no answer to it crosses: client and server see the same.
func TestForwardFullTable(t *testing.T) {
	r, f := inPath(t, policy(outbound), func(c *Config, s *session.Config) { s.Max, c.SynCheck = 1, new(false) })
	const flows = 1000 // more than there is room for, and answered: none is given up for another
	for i := range uint16(flows) {
		at := time.Duration(i) * time.Millisecond
		r.batch(timed{at, udpFrame(t, client, 1000+i, server, 5000, 8), ""}, timed{at, udpFrame(t, server, 5000, client, 1000+i, 8), "wan0"})
	}
	const at = time.Second
	r.batch(
		timed{at, tcpFrame(t, client, 40000, server, 80, syn), ""},
		timed{at, tcpFrame(t, server, 80, client, 40000, syn|ack), "wan0"},
		timed{at, tcpFrame(t, client, 40001, server, 80, ack), ""}, // joins
		timed{at, echoFrame(t, client, server, layers.ICMPv4TypeEchoRequest, 5, 1), ""},
		timed{at, echoFrame(t, server, client, layers.ICMPv4TypeEchoReply, 5, 1), "wan0"},
		timed{at, udpFrame(t, client, 40000, server, 5000, 8), ""},
	)
	records := r.run()
	last := f.verdicts[2*flows:]
	if diff := cmp.Diff([]source.Verdict{drop, drop, drop, drop, drop, drop}, last); diff != "" {
		t.Error(diff)
	}
	crossed := 0
	for i := 0; i < 2*flows; i += 2 {
		if f.verdicts[i] != f.verdicts[i+1] {
			t.Fatalf("flow %d: the question %v, the answer %v", i/2, f.verdicts[i], f.verdicts[i+1])
		}
		if f.verdicts[i] == fwd {
			crossed++
		}
	}
	st := r.Sessions.Stats()
	if crossed == 0 || crossed == flows || st.Created != uint64(crossed) {
		t.Errorf("%d flows have crossed of %d sessions", crossed, st.Created)
	}
	c := r.Counts()
	refused := uint64(flows-crossed) + 5 // the questions, of each of which Create was asked once; the SYN-ACK is one
	if st.Full != refused || c.Unkept != 0 || c.NotSent != 0 {
		t.Errorf("full %d, want %d; %+v", st.Full, refused, c)
	}
	for _, l := range lines(records) {
		if strings.Contains(l, "policy-deny "+client) {
			t.Errorf("a denial is logged: %s", l)
		}
	}
}

// IPv6 neighbour discovery is to IPv6 what ARP is to IPv4; what only looks like it is judged.
func TestForwardNeighbourDiscovery(t *testing.T) {
	solicit := func(hops uint8, typ uint8) []byte {
		ip := ip6("fe80::1", "ff02::1:ff00:2", layers.IPProtocolICMPv6)
		ip.HopLimit = hops
		return frame(t, ip, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, 0)}, gopacket.Payload(make([]byte, 20)))
	}
	r, f := inPath(t, policy(func(*hook.Packet, *hook.Permit, *hook.Finding) hook.Verdict { return hook.Drop }))
	r.batch(timed{0, solicit(255, 135), ""}, timed{0, solicit(64, 135), ""}, timed{0, solicit(255, 128), ""})
	r.run()
	if diff := cmp.Diff([]source.Verdict{fwd, drop, drop}, f.verdicts); diff != "" {
		t.Error(diff)
	}
}

// The zone that a packet goes to is that of the interface by which it leaves, its VLANs included.
func TestLeavesByInterface(t *testing.T) {
	var zones []uint16
	r, _ := inPath(t, policy(func(p *hook.Packet, _ *hook.Permit, _ *hook.Finding) hook.Verdict {
		zones = append(zones, p.InZone, p.OutZone)
		return hook.Pass
	}))
	tagged := frame(t, &layers.Dot1Q{VLANIdentifier: 30, Type: layers.EthernetTypeIPv4}, ip4("203.0.113.1", "203.0.113.2", layers.IPProtocolUDP),
		&layers.UDP{SrcPort: 1, DstPort: 2})
	r.batch(timed{0, udpFrame(t, "203.0.113.1", 1, "203.0.113.2", 2, 0), ""}, timed{0, tagged, "wan0"})
	r.run()
	if diff := cmp.Diff([]uint16{trust, untrust, untrust, dmz}, zones); diff != "" {
		t.Error(diff)
	}
}
