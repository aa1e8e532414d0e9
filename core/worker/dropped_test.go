package worker

import (
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// tinyFragments returns a TCP segment in fragments of eight bytes, of which the first has the ports and not the flags.
func tinyFragments(t *testing.T, src string, srcPort uint16, dst string, dstPort uint16, flags uint8) (first, rest []byte) {
	segment := tcpFrame(t, src, srcPort, dst, dstPort, flags)[34:]
	ip := ip4(src, dst, layers.IPProtocolTCP)
	ip.Id, ip.Flags = 9, layers.IPv4MoreFragments
	first = frame(t, ip, gopacket.Payload(segment[:8]))
	ip = ip4(src, dst, layers.IPProtocolTCP)
	ip.Id, ip.FragOffset = 9, 1
	return first, frame(t, ip, gopacket.Payload(segment[8:]))
}

// dropScreen drops what begins a TCP flow, and first fragments that hide whether they do.
func dropScreen(p *hook.Packet, f *hook.Finding) hook.Verdict {
	if p.Proto != packet.ProtoTCP || p.FragOff != 0 || p.HasL4 && p.TCPFlags&(packet.SYN|packet.ACK) != packet.SYN {
		return hook.Pass
	}
	*f = hook.Finding{Found: true, Kind: event.ScreenDrop, Screen: event.ScreenSYNFloodSrc}
	return hook.Drop
}

// TestP12DroppedBeginning carries a TCP connection, as a tap sees it, of which a policy denied the SYN or a screen dropped
// it. Everything behind the SYN would be permitted, in one direction or the other. It makes no session, whichever worker
// carries it, and whether the SYN is carried before its answer or later; and nothing but the SYN is told of.
func TestP12DroppedBeginning(t *testing.T) {
	tiny, rest := tinyFragments(t, client, 1000, server, 443, syn)
	for _, c := range []struct {
		name     string
		client   string // where the client is: what comes from lan0 is permitted
		syn      [][]byte
		ingress  hookFunc
		denials  int
		outbound bool
	}{
		{"denied by a policy", "wan0", [][]byte{tcpFrame(t, server, 1000, client, 443, syn)}, nil, 1, false},
		{"dropped by a screen", "lan0", [][]byte{tcpFrame(t, client, 1000, server, 443, syn)}, dropScreen, 0, true},
		{"in tiny fragments, dropped by a screen", "lan0", [][]byte{tiny, rest}, dropScreen, 0, true},
	} {
		for _, workers := range []int{1, 2} {
			for _, late := range []bool{false, true} {
				name := c.name + map[bool]string{false: ", SYN first", true: ", answer first"}[late] + map[int]string{1: "", 2: ", two workers"}[workers]
				t.Run(name, func(t *testing.T) {
					m := newTeam(t, workers, false)
					if c.ingress != nil {
						for _, w := range m.workers {
							w.Ingress = []hook.Hook{c.ingress}
						}
					}
					there, back := [2]string{client, "lan0"}, [2]string{server, "wan0"}
					if !c.outbound {
						there, back = back, there
					}
					forward := func(flags uint8) packet.Frame {
						return m.frame(tcpFrame(t, there[0], 1000, back[0], 443, flags), there[1])
					}
					backward := func(flags uint8) packet.Frame {
						return m.frame(tcpFrame(t, back[0], 443, there[0], 1000, flags), back[1])
					}
					begin := func(at time.Duration) {
						for _, data := range c.syn {
							m.carry(0, at, m.frame(data, there[1]))
						}
					}
					answers := workers - 1
					if late {
						m.carry(answers, 0, backward(syn|ack))
						begin(10 * time.Millisecond)
					} else {
						begin(0)
						m.carry(answers, time.Millisecond, backward(syn|ack))
					}
					for _, at := range []time.Duration{20 * time.Millisecond, time.Second, 50 * time.Second, 100 * time.Second} {
						m.carry(0, at, forward(ack), forward(ack))
						m.carry(answers, at, backward(ack))
					}
					closes, denials := m.end(3 * time.Minute)
					if len(closes) != 0 || len(denials) != c.denials || m.workers[0].Sessions.Stats().Created != 0 {
						t.Errorf("sessions %q, denials %q", closes, denials)
					}
					outOfState := uint64(0)
					for _, w := range m.workers {
						outOfState += w.Counts().OutOfState
					}
					if outOfState != 13 {
						t.Errorf("%d out of state, want 13", outOfState)
					}
				})
			}
		}
	}
}

// TestP12DroppedAtFirst drops a SYN and lets the next one pass: the flow has its session, and is joined in the middle when
// that has ended.
func TestP12DroppedAtFirst(t *testing.T) {
	dropped := 0
	r := newRig(t, policy(outbound), ingress(func(p *hook.Packet, f *hook.Finding) hook.Verdict {
		if dropped++; dropped > 1 {
			return hook.Pass
		}
		return dropScreen(p, f)
	}))
	request := tcpFrame(t, client, 1000, server, 443, syn)
	r.batch(timed{0, request, ""}, timed{time.Second, request, ""},
		timed{time.Second + 1, tcpFrame(t, server, 443, client, 1000, syn|ack), "wan0"},
		timed{2 * time.Second, tcpFrame(t, client, 1000, server, 443, rst), ""})
	r.timeout(10 * time.Second)
	r.batch(timed{11 * time.Second, tcpFrame(t, client, 1000, server, 443, ack), ""})
	r.timeout(12 * time.Second)
	r.expect(
		"0s screen-drop 192.0.2.10:1000>198.51.100.1:443/6 zones 1>0 if 11 screen syn-flood-source action 0 app -",
		"1s session-open 192.0.2.10:1000>198.51.100.1:443/6 zones 1>2 if 11 id 1 policy 7 app junos-https",
		"4s session-close 192.0.2.10:1000>198.51.100.1:443/6 zones 1>2 if 11 id 1 policy 7 app junos-https 2/80 1/40 3s why 6",
		"11s session-open 192.0.2.10:1000>198.51.100.1:443/6 zones 1>2 if 11 id 2 policy 7 app junos-https")
	if got := r.Counts().OutOfState; got != 0 {
		t.Errorf("%d out of state", got)
	}
}
