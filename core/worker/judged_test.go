package worker

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// patch returns a frame with bytes from at on replaced. The IPv4 header stands at 14, what is behind it at 34.
func patch(frame []byte, at int, v ...byte) []byte {
	frame = slices.Clone(frame)
	copy(frame[at:], v)
	return frame
}

// refusedFrames are packets with an IP header, and the cause for which each is refused once it has been judged.
func refusedFrames(t testing.TB) map[packet.Cause][]byte {
	segment := tcpFrame(t, client, 1000, server, 80, syn)
	datagram := udpFrame(t, client, 1000, server, 53, 32)
	chain := frame(t, ip6("2001:db8:1::1", "2001:db8:2::1", layers.IPProtocolIPv6Destination), gopacket.Payload(make([]byte, 16)))
	nine := make([]byte, 80) // destination options, each naming the next
	for i := range 9 {
		nine[8*i] = packet.ProtoDstOpts
	}
	return map[packet.Cause][]byte{
		packet.IPHeaderLen:    patch(segment, 14, 0x44),
		packet.IPTotalLen:     patch(segment, 16, 0, 19),
		packet.FragmentBounds: patch(udpFrame(t, client, 1000, server, 53, 33), 20, 0x20),
		packet.ExtensionLen:   patch(chain, 14+40+1, 9),
		packet.ExtensionChain: frame(t, ip6("2001:db8:1::1", "2001:db8:2::1", layers.IPProtocolIPv6Destination), gopacket.Payload(nine)),
		packet.TCPShort:       patch(segment, 46, 0xf0),
		packet.UDPShort:       patch(datagram, 38, 0, 7),
		packet.SCTPShort:      frame(t, ip4(client, server, layers.IPProtocolSCTP), gopacket.Payload(make([]byte, 9))),
		packet.ICMPShort:      frame(t, ip4(client, server, layers.IPProtocolICMPv4), gopacket.Payload(make([]byte, 7))),
		packet.Truncated:      segment[:36],
	}
}

// TestP11JudgedBeforeRefused: what has an IP header is refused only after ingress hooks have seen it, and no policy and no
// session sees it.
func TestP11JudgedBeforeRefused(t *testing.T) {
	frames := refusedFrames(t)
	for cause := packet.IPHeaderLen; cause < packet.NumCauses; cause++ {
		for _, drop := range []bool{false, true} {
			seen := 0
			r := newRig(t, ingress(func(p *hook.Packet, f *hook.Finding) hook.Verdict {
				seen++
				if p.InZone != trust || p.Src == (packet.Addr{}) || p.Dst == (packet.Addr{}) {
					t.Errorf("%v: judged as %+v", cause, p)
				}
				*f = hook.Finding{Found: true, Kind: event.ScreenDrop, Screen: event.ScreenBlockFrag}
				if drop {
					return hook.Drop
				}
				return hook.Pass
			}), policy(func(*hook.Packet, *hook.Permit, *hook.Finding) hook.Verdict {
				t.Errorf("%v: a policy was asked", cause)
				return hook.Pass
			}))
			if frames[cause] == nil {
				t.Fatalf("no packet that is refused as %v", cause)
			}
			r.batch(timed{0, frames[cause], ""})
			if records := r.run(); len(records) != 1 || seen != 1 {
				t.Errorf("%v: judged %d times, %d records", cause, seen, len(records))
			}
			want := Counts{Received: 1, Bytes: uint64(len(frames[cause]))}
			if drop {
				want.Dropped[hook.Ingress] = 1
			} else {
				want.Causes[cause] = 1
			}
			if diff := cmp.Diff(want, r.Counts()); diff != "" {
				t.Errorf("%v: %s", cause, diff)
			}
		}
	}
}

// TestTinyFragments sends a SYN in fragments of eight bytes. The policy is asked with the ports of the first, and the others
// belong to its session.
func TestTinyFragments(t *testing.T) {
	segment := tcpFrame(t, client, 40000, server, 80, syn)[34:]
	var pieces [][]byte
	for off := 0; off < len(segment); off += 8 {
		ip := ip4(client, server, layers.IPProtocolTCP)
		ip.Id, ip.FragOffset = 9, uint16(off/8)
		if off+8 < len(segment) {
			ip.Flags = layers.IPv4MoreFragments
		}
		pieces = append(pieces, frame(t, ip, gopacket.Payload(segment[off:min(off+8, len(segment))])))
	}
	for _, verdict := range []hook.Verdict{hook.Pass, hook.Drop} {
		asked := 0
		r := newRig(t, policy(func(p *hook.Packet, _ *hook.Permit, f *hook.Finding) hook.Verdict {
			asked++
			if p.SrcPort != 40000 || p.DstPort != 80 {
				t.Errorf("asked about ports %d and %d", p.SrcPort, p.DstPort)
			}
			*f = hook.Finding{Found: verdict == hook.Drop, Kind: event.PolicyDeny}
			return verdict
		}))
		for _, p := range pieces {
			r.batch(timed{0, p, ""})
		}
		if verdict == hook.Pass {
			r.batch(timed{0, tcpFrame(t, server, 80, client, 40000, syn|ack), "wan0"})
		}
		records := r.run()
		if verdict == hook.Drop {
			if asked < 1 || len(records) < 1 || records[0].Kind() != event.PolicyDeny || records[0].DstPort() != 80 {
				t.Errorf("asked %d times: %v", asked, lines(records))
			}
			continue
		}
		if asked != 1 || len(records) != 1 || records[0].DstPort() != 80 {
			t.Errorf("asked %d times: %v", asked, lines(records))
		}
		all := expireAll(r)
		if len(all) != 1 || all[0].ClientPackets != uint64(len(pieces)) || all[0].ServerPackets != 1 {
			t.Errorf("%+v", all)
		}
	}
}

// TestCutFrames counts packets of which the frame has only the beginning, or whose IP header has no length.
func TestCutFrames(t *testing.T) {
	segment := udpFrame(t, client, 1000, server, 53, 1400)
	sliced := segment[:60]
	lengthless := patch(segment, 16, 0, 0)
	binary.BigEndian.PutUint16(lengthless[38:], 0)
	r := newRig(t)
	r.batch(timed{0, sliced, ""}, timed{0, lengthless, ""})
	r.run()
	all := expireAll(r)
	if want := uint64(2 * (len(segment) - 14)); len(all) != 1 || all[0].ClientPackets != 2 || all[0].ClientBytes != want {
		t.Errorf("%+v, want one session with %d bytes", all, want)
	}
}

// TestFindingsApart has one hook report a packet and let it pass, and the next report it too, with less to say: nothing of the first
// finding is in the second.
func TestFindingsApart(t *testing.T) {
	r := newRig(t, ingress(func(_ *hook.Packet, f *hook.Finding) hook.Verdict {
		*f = hook.Finding{Found: true, Kind: event.FilterLog, Action: event.ActionPermit, Filter: 3, Term: 4}
		return hook.Pass
	}), ingress(func(_ *hook.Packet, f *hook.Finding) hook.Verdict {
		f.Found, f.Kind = true, event.FilterLog
		return hook.Drop
	}))
	r.batch(timed{0, udpFrame(t, client, 40000, server, 53, 32), ""}, timed{0, udpFrame(t, client, 40000, server, 53, 32), ""})
	records := r.run()
	if len(records) != 4 {
		t.Fatalf("records: %v", lines(records))
	}
	for i := range records {
		filter, term := uint32(3), uint32(4)
		if i%2 == 1 {
			filter, term = 0, 0
		}
		if rec := &records[i]; rec.Filter() != filter || rec.Term() != term {
			t.Errorf("record %d: filter %d, term %d, want %d and %d", i, rec.Filter(), rec.Term(), filter, term)
		}
	}
}
