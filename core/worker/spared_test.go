package worker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
)

// sparingHook spares what a function says, and notes what it sees.
type sparingHook struct {
	spares func(p *hook.Packet) bool
	seen   []hook.Packet
}

func (s *sparingHook) Inspect(p *hook.Packet, _ *hook.Finding) hook.Verdict {
	s.seen = append(s.seen, *p)
	return hook.Pass
}

func (s *sparingHook) Spares(p *hook.Packet) bool { return s.spares(p) }

func hooks(list ...hook.Hook) option {
	return func(c *Config, _ *session.Config) { c.Ingress = list }
}

// TestSpared follows one connection past a hook that spares it: the hook sees what begins and ends it, and of the ordinary segments of each
// direction the first. One that does not spare it sees all.
func TestSpared(t *testing.T) {
	some := &sparingHook{spares: func(*hook.Packet) bool { return true }}
	all := &sparingHook{spares: func(*hook.Packet) bool { return false }}
	none := 0
	r := newRig(t, hooks(all, some, hookFunc(func(*hook.Packet, *hook.Finding) hook.Verdict { none++; return hook.Pass })))
	to := func(flags uint8) timed { return timed{0, tcpFrame(t, client, 9, server, 443, flags), "lan0"} }
	back := func(flags uint8) timed { return timed{0, tcpFrame(t, server, 443, client, 9, flags), "wan0"} }
	frames := []timed{to(syn), back(syn | ack), to(ack), back(ack), to(ack), to(ack), back(ack), back(ack), to(ack), to(ack | packet.FIN), back(ack | packet.FIN), to(ack)}
	r.batch(frames...)
	r.run()
	var flags []uint8
	for _, p := range some.seen {
		flags = append(flags, p.TCPFlags)
	}
	if want := []uint8{syn, syn | ack, ack, ack, ack | packet.FIN, ack | packet.FIN}; !slices.Equal(flags, want) {
		t.Errorf("it saw segments with the flags %v, want %v", flags, want)
	}
	if len(all.seen) != len(frames) || none != len(frames) {
		t.Errorf("%d and %d packets of %d", len(all.seen), none, len(frames))
	}
}

// TestSparedRules has a hook see the flows again that the hook before it has spared, after a change of rules.
func TestSparedRules(t *testing.T) {
	first := &sparingHook{spares: func(*hook.Packet) bool { return true }}
	second := &sparingHook{spares: func(*hook.Packet) bool { return false }}
	r := newRig(t, hooks(first))
	datagrams := func(at time.Duration) {
		var frames []timed
		for range 5 {
			frames = append(frames, timed{at, udpFrame(t, client, 9, server, 53, 10), ""})
		}
		r.batch(frames...)
	}
	datagrams(0)
	datagrams(time.Second)
	step := 0
	r.source.onReceive = func() {
		if step++; step == 2 {
			r.SetRules(&Rules{Ingress: []hook.Hook{second}, Zones: r.zones})
		}
	}
	r.run()
	if len(first.seen) != 1 || len(second.seen) != 5 {
		t.Errorf("they saw %d and %d packets, want 1 and 5", len(first.seen), len(second.seen))
	}
}

// TestSparedNeverHides carries random packets of few flows past a hook that spares some of them: whatever it has to see it sees, though
// packets of the same addresses and ports come or leave by other interfaces, in other VLANs, in pieces or with options.
func TestSparedNeverHides(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	flow := func(p *hook.Packet) string {
		return fmt.Sprint(p.Tuple, p.Interface, p.InZone, p.VLAN, p.InnerVLAN, p.Leaves)
	}
	// A third of the flows are spared, by a hash of all that tells them apart.
	spared := func(p *hook.Packet) bool {
		n := 0
		for _, b := range []byte(flow(p)) {
			n = n*31 + int(b)
		}
		return n%3 == 0
	}
	h := &sparingHook{spares: spared}
	var sent []hook.Packet
	r := newRig(t, hooks(hookFunc(func(p *hook.Packet, _ *hook.Finding) hook.Verdict {
		sent = append(sent, *p)
		return hook.Pass
	}), h))
	for range 200 {
		var frames []timed
		for range packet.BatchSize {
			ends := []string{client, server}
			i := rng.IntN(2)
			ip := ip4(ends[i], ends[1-i], layers.IPProtocolUDP)
			ports := []uint16{7, uint16(1000 + rng.IntN(3))}
			var transport gopacket.SerializableLayer = &layers.UDP{SrcPort: layers.UDPPort(ports[i]), DstPort: layers.UDPPort(ports[1-i])}
			if rng.IntN(2) == 0 {
				ip.Protocol = layers.IPProtocolTCP
				bit := func() bool { return rng.IntN(6) == 0 }
				transport = &layers.TCP{
					SrcPort: layers.TCPPort(ports[i]), DstPort: layers.TCPPort(ports[1-i]), DataOffset: 5,
					ACK: rng.IntN(6) != 0, FIN: bit(), SYN: bit(), RST: bit(), URG: bit(), PSH: bit(),
				}
			}
			switch rng.IntN(12) {
			case 0:
				ip.Flags = layers.IPv4MoreFragments
			case 1:
				ip.Flags = layers.IPv4EvilBit
			case 2:
				ip.Flags = layers.IPv4DontFragment
			case 3:
				ip.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 3, OptionData: []byte{4}}}
			}
			parts := []gopacket.SerializableLayer{ip, transport, gopacket.Payload(make([]byte, 16))}
			inner := layers.EthernetTypeIPv4
			for range rng.IntN(3) {
				parts = append([]gopacket.SerializableLayer{&layers.Dot1Q{VLANIdentifier: uint16(30 + rng.IntN(2)), Type: inner}}, parts...)
				inner = layers.EthernetTypeDot1Q
			}
			frames = append(frames, timed{0, frame(t, parts...), []string{"lan0", "wan0"}[rng.IntN(2)]})
		}
		r.batch(frames...)
		batch := r.source.batches[len(r.source.batches)-1]
		for i := range batch {
			switch rng.IntN(6) {
			case 0:
				batch[i].Outgoing = true
			case 1:
				batch[i].LeavesBy = r.zones.Index("wan0")
			}
		}
	}
	r.run()
	next, unseen, times := 0, 0, make(map[string]int)
	for i := range sent {
		p := &sent[i]
		if next < len(h.seen) && h.seen[next] == *p {
			next++
			continue
		}
		unseen++
		times[flow(p)]++
		if !spared(p) || !ordinary(&p.Headers) {
			t.Fatalf("it did not see %+v", p)
		}
	}
	if next != len(h.seen) || unseen < len(sent)/20 || len(times) < 20 {
		t.Errorf("it saw %d packets of %d, and not %d of %d flows", next, len(sent), unseen, len(times))
	}
}

// TestSparedZone has a flow come from another zone, as when a route has changed: the hook sees it again.
func TestSparedZone(t *testing.T) {
	h := &sparingHook{spares: func(p *hook.Packet) bool { return p.InZone == trust }}
	r := newRig(t, hooks(h))
	p := hook.Packet{Headers: packet.Headers{Plain: true, Tuple: packet.Tuple{Family: packet.IPv4, Proto: packet.ProtoUDP, SrcPort: 9, DstPort: 53}}}
	r.key = new(session.Key)
	r.Sessions.SetKey(r.key, &p.Tuple, 0)
	for _, zone := range []uint16{trust, untrust} {
		p.InZone = zone
		for range 5 {
			r.ingress(&p)
		}
	}
	if want := 1 + 5; len(h.seen) != want {
		t.Errorf("it saw %d packets, want %d", len(h.seen), want)
	}
}

// TestSparedByMany has more hooks than a flow has bits for: all of them see all packets.
func TestSparedByMany(t *testing.T) {
	var list []hook.Hook
	for range mostHooks {
		list = append(list, &sparingHook{spares: func(*hook.Packet) bool { return true }})
	}
	last := &sparingHook{spares: func(*hook.Packet) bool { return false }}
	r := newRig(t, hooks(append(list, last)...))
	var frames []timed
	for range 5 {
		frames = append(frames, timed{0, udpFrame(t, client, 9, server, 53, 10), ""})
	}
	r.batch(frames...)
	r.run()
	if len(last.seen) != len(frames) {
		t.Errorf("the last hook saw %d packets of %d", len(last.seen), len(frames))
	}
}

// TestOrdinary names packets that a hook may need to see though it spares others of their flow.
func TestOrdinary(t *testing.T) {
	for _, c := range []struct {
		name string
		h    packet.Headers
		want bool
	}{
		{"datagram", packet.Headers{Plain: true, Tuple: packet.Tuple{Proto: packet.ProtoUDP}}, true},
		{"segment", packet.Headers{Plain: true, Tuple: packet.Tuple{Proto: packet.ProtoTCP}, TCPFlags: packet.ACK | packet.PSH, IPFlags: packet.DontFragment}, true},
		{"not plain", packet.Headers{Tuple: packet.Tuple{Proto: packet.ProtoUDP}}, false},
		{"reserved bit", packet.Headers{Plain: true, Tuple: packet.Tuple{Proto: packet.ProtoUDP}, IPFlags: 4}, false},
		{"no flag", packet.Headers{Plain: true, Tuple: packet.Tuple{Proto: packet.ProtoTCP}}, false},
		{"SYN", packet.Headers{Plain: true, Tuple: packet.Tuple{Proto: packet.ProtoTCP}, TCPFlags: packet.SYN | packet.ACK}, false},
		{"FIN", packet.Headers{Plain: true, Tuple: packet.Tuple{Proto: packet.ProtoTCP}, TCPFlags: packet.FIN | packet.ACK}, false},
		{"RST", packet.Headers{Plain: true, Tuple: packet.Tuple{Proto: packet.ProtoTCP}, TCPFlags: packet.RST | packet.ACK}, false},
		{"URG", packet.Headers{Plain: true, Tuple: packet.Tuple{Proto: packet.ProtoTCP}, TCPFlags: packet.URG | packet.ACK}, false},
	} {
		if got := ordinary(&c.h); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
