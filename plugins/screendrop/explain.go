package screendrop

import (
	"strings"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

var (
	_ hook.Explainer = (*screens)(nil)
	_ hook.Explainer = beginnings{}

	_ hook.Accumulator = (*screens)(nil)
)

// keys are where the table has each screen.
var keys = [none]string{
	event.ScreenSYNFlood: "tcp.syn-flood", event.ScreenSYNFloodSrc: "tcp.syn-flood", event.ScreenSYNFloodDst: "tcp.syn-flood",
	event.ScreenPortScan: "tcp.port-scan", event.ScreenTCPSweep: "tcp.tcp-sweep", event.ScreenSYNFIN: "tcp.syn-fin",
	event.ScreenNoFlag: "tcp.tcp-no-flag", event.ScreenFINNoACK: "tcp.fin-no-ack", event.ScreenLand: "tcp.land",
	event.ScreenWinNuke: "tcp.winnuke", event.ScreenSYNFrag: "tcp.syn-frag",
	event.ScreenUDPFlood: "udp.flood", event.ScreenUDPPortScan: "udp.port-scan", event.ScreenUDPSweep: "udp.udp-sweep",
	event.ScreenICMPFlood: "icmp.flood", event.ScreenIPSweep: "icmp.ip-sweep", event.ScreenPingDeath: "icmp.ping-death",
	event.ScreenICMPFragment: "icmp.fragment", event.ScreenICMPLarge: "icmp.large",
	event.ScreenBlockFrag: "ip.block-frag", event.ScreenBadOption: "ip.bad-option", event.ScreenSourceRoute: "ip.source-route-option",
	event.ScreenLooseSourceRoute: "ip.loose-source-route-option", event.ScreenStrictSourceRoute: "ip.strict-source-route-option",
	event.ScreenRecordRoute: "ip.record-route-option", event.ScreenTimestamp: "ip.timestamp-option",
	event.ScreenSecurity: "ip.security-option", event.ScreenStream: "ip.stream-option",
	event.ScreenUnknownProtocol: "ip.unknown-protocol", event.ScreenTearDrop: "ip.tear-drop",
}

// Explain implements [hook.Explainer].
func (s *screens) Explain(p *hook.Packet, v hook.Verdict, f *hook.Finding) hook.Explanation {
	if !s.bound(p) {
		return hook.Explanation{Looked: "nothing: the screens are not bound to the zone that the packet comes from"}
	}
	x := hook.Explanation{Looked: "the screens that are on, until one fires"}
	if f.Found {
		x.Matched = []hook.Rule{s.rule(f.Screen, v)}
		return x
	}
	tcp, udp, icmp := p.Proto == packet.ProtoTCP, p.Proto == packet.ProtoUDP, packet.IsICMP(p.Proto)
	if counting := s.counting(tcp, udp, icmp); len(counting) > 0 {
		names := make([]string, len(counting))
		for i, screen := range counting {
			names[i] = screen.String()
		}
		x.Notes = []string{"rates and scans need more than one packet; not reached: " + strings.Join(names, ", ")}
	}
	return x
}

// Rules implements [hook.Explainer].
func (s *screens) Rules() (rules []hook.Rule) {
	for screen := range none {
		if s.has(screen) {
			v := hook.Drop
			if s.alarm || alarmOnly(screen) {
				v = hook.Pass
			}
			rules = append(rules, s.rule(screen, v))
		}
	}
	return rules
}

// Accumulating implements [hook.Accumulator].
func (s *screens) Accumulating() (rules []hook.Rule) {
	for _, screen := range s.counting(true, true, true) {
		v := hook.Drop
		if s.alarm || alarmOnly(screen) {
			v = hook.Pass
		}
		rules = append(rules, s.rule(screen, v))
	}
	return rules
}

// rule describes a screen whose verdict on a packet is v.
func (s *screens) rule(screen event.Screen, v hook.Verdict) hook.Rule {
	then := "drop"
	if v == hook.Pass {
		then = "alarm"
	}
	return hook.Rule{Sort: "screen", Name: screen.String(), Key: keys[screen], Then: then}
}

// counting returns the screens that are on and count packets of these protocols.
func (s *screens) counting(tcp, udp, icmp bool) (screens []event.Screen) {
	for _, c := range []struct {
		on     bool
		screen event.Screen
	}{
		{tcp && s.synSource != nil, event.ScreenSYNFloodSrc}, {tcp && s.synDest != nil, event.ScreenSYNFloodDst},
		{tcp && s.synPort != nil, event.ScreenSYNFlood}, {tcp && s.tcpScan != nil, event.ScreenPortScan},
		{tcp && s.tcpSweep != nil, event.ScreenTCPSweep}, {udp && s.udpFlood != nil, event.ScreenUDPFlood},
		{udp && s.udpScan != nil, event.ScreenUDPPortScan}, {udp && s.udpSweep != nil, event.ScreenUDPSweep},
		{icmp && s.icmpFlood != nil, event.ScreenICMPFlood}, {icmp && s.icmpSweep != nil, event.ScreenIPSweep},
		{s.tearDrop != nil, event.ScreenTearDrop},
	} {
		if c.on {
			screens = append(screens, c.screen)
		}
	}
	return screens
}
