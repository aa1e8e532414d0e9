package screendrop

import (
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/flowhash"
	"github.com/rtflow/pipelined/sdk/event"
)

// none is no screen at all.
const none = event.Screen(event.NumScreens)

// screens is one configured set of screens. Nothing but its tables and its tally changes after it is built. A screen that
// is not configured costs nothing: its bit is not set, its table is nil.
type screens struct {
	zones []bool // by zone id: the screens are bound to it
	alarm bool   // alarm-without-drop
	signatures

	hash                        flowhash.Key
	synSource, synDest, synPort *rateTable
	udpFlood, icmpFlood         *rateTable
	tcpScan, tcpSweep           *scanTable
	udpScan, udpSweep           *scanTable
	icmpSweep                   *scanTable
	tearDrop                    *datagramTable
	quiet                       *rateTable // which scans were reported in this second

	tally *hook.Tally // by screen: packets that it fired on, dropped or not, with an event or without
}

var _ hook.Hook = (*screens)(nil)

// sizes is how many sets the tables of a set of screens have, each a power of two.
type sizes struct{ rates, scans, datagrams, quiet int }

// large are the sizes for a network, and small those for a few packets.
func large() sizes { return sizes{rateSets, scanSets, datagramSets, quietSets} }
func small() sizes { return sizes{1, 1, 1, 1} }

func newScreens(o options, env hook.Env, size sizes) *screens {
	s := &screens{
		alarm:      o.AlarmWithoutDrop,
		signatures: newSignatures(&o),
		hash:       newHash(env.Live),
		synSource:  size.rateOf(o.TCP.SYNFlood.source),
		synDest:    size.rateOf(o.TCP.SYNFlood.destination),
		synPort:    size.rateOf(o.TCP.SYNFlood.attack),
		udpFlood:   size.rateOf(o.UDP.Flood.limit),
		icmpFlood:  size.rateOf(o.ICMP.Flood.limit),
		tcpScan:    size.scanOf(o.TCP.PortScan.us),
		tcpSweep:   size.scanOf(o.TCP.TCPSweep.us),
		udpScan:    size.scanOf(o.UDP.PortScan.us),
		udpSweep:   size.scanOf(o.UDP.UDPSweep.us),
		icmpSweep:  size.scanOf(o.ICMP.IPSweep.us),
		quiet:      newRateTable(1, size.quiet),
		tally:      hook.NewTally(env.Workers, screenNames()),
	}
	if o.IP.TearDrop {
		s.tearDrop = newDatagramTable(size.datagrams)
	}
	for _, name := range o.Zones {
		id, _ := env.Zones.Lookup(name)
		for int(id) >= len(s.zones) {
			s.zones = append(s.zones, false)
		}
		s.zones[id] = true
	}
	return s
}

// goOn makes the screens go on with what those before them remember. A screen whose threshold is another one begins anew: what was counted
// up to the former threshold says nothing of this one. The former screens may still count, in the same tables.
func (s *screens) goOn(former *screens) {
	s.hash, s.quiet = former.hash, former.quiet
	for _, t := range []struct{ now, before **rateTable }{
		{&s.synSource, &former.synSource}, {&s.synDest, &former.synDest}, {&s.synPort, &former.synPort},
		{&s.udpFlood, &former.udpFlood}, {&s.icmpFlood, &former.icmpFlood},
	} {
		if *t.now != nil && *t.before != nil && (*t.now).limit == (*t.before).limit {
			*t.now = *t.before
		}
	}
	for _, t := range []struct{ now, before **scanTable }{
		{&s.tcpScan, &former.tcpScan}, {&s.tcpSweep, &former.tcpSweep}, {&s.udpScan, &former.udpScan}, {&s.udpSweep, &former.udpSweep},
		{&s.icmpSweep, &former.icmpSweep},
	} {
		if *t.now != nil && *t.before != nil && (*t.now).interval == (*t.before).interval {
			*t.now = *t.before
		}
	}
	if s.tearDrop != nil && former.tearDrop != nil {
		s.tearDrop = former.tearDrop
	}
}

// screenNames returns the names of all screens, by number.
func screenNames() []string {
	names := make([]string, none)
	for screen := range none {
		names[screen] = screen.String()
	}
	return names
}

// counters returns the packets and bytes that each screen has fired on. Screens that never did are left out.
func (s *screens) counters() []hook.Counter {
	return slices.DeleteFunc(s.tally.Counters(), func(c hook.Counter) bool { return c.Packets == 0 })
}

func (s sizes) rateOf(limit uint64) *rateTable {
	if limit == 0 {
		return nil
	}
	return newRateTable(limit, s.rates)
}

func (s sizes) scanOf(us int64) *scanTable {
	if us == 0 {
		return nil
	}
	return newScanTable(us, s.scans)
}

// Inspect implements [hook.Hook]. The first screen that fires decides; those after it do not see the packet.
func (s *screens) Inspect(p *hook.Packet, f *hook.Finding) hook.Verdict {
	if !s.bound(p) || ordinary(p) {
		return hook.Pass
	}
	screen, result := s.judge(p)
	if screen == none {
		return hook.Pass
	}
	return s.answer(p, screen, result, f)
}

// ordinary reports whether no screen is about the packet, whatever is configured: most TCP segments.
func ordinary(p *hook.Packet) bool {
	return p.Plain && p.Proto == packet.ProtoTCP && p.TCPFlags&(packet.SYN|packet.FIN|packet.URG) == 0 && p.TCPFlags != 0
}

// bound reports whether the screens are bound to the zone that the packet came from.
func (s *screens) bound(p *hook.Packet) bool {
	return int(p.InZone) < len(s.zones) && s.zones[p.InZone]
}

// answer counts that a screen fires on the packet, fills in the finding if that makes an event, and returns the verdict.
func (s *screens) answer(p *hook.Packet, screen event.Screen, result outcome, f *hook.Finding) hook.Verdict {
	if screen == none {
		return hook.Pass
	}
	s.tally.Count(p, int(screen))
	drops := !s.alarm && !alarmOnly(screen)
	if result == crossed {
		f.Found = true
		f.Kind = event.ScreenDrop
		f.Screen = screen
		f.Action = event.ActionPermit
		if drops {
			f.Action = event.ActionDeny
		}
	}
	if drops {
		return hook.Drop
	}
	return hook.Pass
}

// alarmOnly reports whether a screen reports and never drops. Junos answers SYNs above the attack threshold itself (SYN
// cookie), which loses no honest client; of a WinNuke packet it clears the urgent bit and forwards it. Neither can be
// done here, and dropping would do more harm than letting the packet go.
func alarmOnly(screen event.Screen) bool {
	return screen == event.ScreenSYNFlood || screen == event.ScreenWinNuke
}

// judge returns the screen that fires on the packet, or none. The result is crossed if that makes an event, over if the
// event was made already.
//
// The order: what the IP header shows, the special case before the general one; what the transport header shows; what
// counts. Scans and sweeps of UDP are judged apart, see [beginnings]. The screens that never drop come last, so that none of them saves a packet from one that does.
func (s *screens) judge(p *hook.Packet) (event.Screen, outcome) {
	if !p.Plain { // which has nothing that these are about
		if screen := s.signatures.header(&p.Headers); screen != none {
			return screen, crossed
		}
		if p.Fragment {
			if screen, result := s.fragment(p); result != under {
				return screen, result
			}
		}
		if s.signatures.large(&p.Headers) {
			return event.ScreenICMPLarge, crossed
		}
	}
	switch p.Proto {
	case packet.ProtoTCP:
		if p.HasL4 {
			return s.tcp(p)
		}
	case packet.ProtoUDP:
		return s.udp(p)
	case packet.ProtoICMP, packet.ProtoICMPv6:
		return s.icmp(p)
	}
	return none, under
}

// reassembledBy returns what tells datagrams apart beside addresses and identification: of IPv4 the protocol (RFC 791), of
// IPv6 nothing (RFC 8200 section 4.5).
func reassembledBy(h *packet.Headers) uint16 {
	if h.Family == packet.IPv4 {
		return uint16(h.Proto)
	}
	return 0
}

// fragment applies the screens for fragments.
func (s *screens) fragment(p *hook.Packet) (event.Screen, outcome) {
	if s.signatures.pingDeath(&p.Headers) {
		return event.ScreenPingDeath, crossed
	}
	if s.tearDrop != nil {
		id := s.hash.Sum3(s.source(p), s.target(p, reassembledBy(&p.Headers)), uint64(p.FragID))
		if result := s.tearDrop.add(id, &p.Headers, p.Time); result != under {
			return event.ScreenTearDrop, result
		}
	}
	if screen := s.signatures.fragment(&p.Headers); screen != none {
		return screen, crossed
	}
	return none, under
}

func (s *screens) tcp(p *hook.Packet) (event.Screen, outcome) {
	if screen := s.signatures.flags(&p.Headers); screen != none {
		return screen, crossed
	}
	syn := p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN
	if syn {
		if screen, result := s.syn(p); result != under {
			return screen, result
		}
	}
	if s.has(event.ScreenWinNuke) && p.DstPort == netbiosSession && p.TCPFlags&packet.URG != 0 {
		return event.ScreenWinNuke, crossed
	}
	if syn && s.synPort != nil {
		if result := s.synPort.add(s.target(p, p.DstPort), p.Time); result != under {
			return event.ScreenSYNFlood, result
		}
	}
	return none, under
}

// syn applies the counting screens that drop SYN segments.
func (s *screens) syn(p *hook.Packet) (event.Screen, outcome) {
	if s.synSource == nil && s.synDest == nil && s.tcpScan == nil && s.tcpSweep == nil {
		return none, under
	}
	source := s.source(p)
	if s.synSource != nil {
		if result := s.synSource.add(source, p.Time); result != under {
			return event.ScreenSYNFloodSrc, result
		}
	}
	if s.synDest != nil {
		if result := s.synDest.add(s.target(p, 0), p.Time); result != under {
			return event.ScreenSYNFloodDst, result
		}
	}
	if result := s.scan(s.tcpScan, event.ScreenPortScan, source, uint32(p.DstPort), p.Time); result != under {
		return event.ScreenPortScan, result
	}
	if result := s.sweep(s.tcpSweep, event.ScreenTCPSweep, source, p); result != under {
		return event.ScreenTCPSweep, result
	}
	return none, under
}

func (s *screens) udp(p *hook.Packet) (event.Screen, outcome) {
	if s.udpFlood != nil {
		// Later fragments have no port: they count together, as port 0 of their destination.
		if result := s.udpFlood.add(s.target(p, p.DstPort), p.Time); result != under {
			return event.ScreenUDPFlood, result
		}
	}
	return none, under
}

func (s *screens) icmp(p *hook.Packet) (event.Screen, outcome) {
	if s.icmpFlood != nil {
		if result := s.icmpFlood.add(s.target(p, 0), p.Time); result != under {
			return event.ScreenICMPFlood, result
		}
	}
	if s.icmpSweep != nil && p.EchoRequest() {
		if result := s.sweep(s.icmpSweep, event.ScreenIPSweep, s.source(p), p); result != under {
			return event.ScreenIPSweep, result
		}
	}
	return none, under
}

// source and target hash the key that a packet's source, or its destination with a port, has in its zone.
func (s *screens) source(p *hook.Packet) uint64 { return s.hashOf(&p.Src, p.Family, p.InZone, 0) }

func (s *screens) target(p *hook.Packet, port uint16) uint64 {
	return s.hashOf(&p.Dst, p.Family, p.InZone, port)
}

// sweep is scan with the destination address as target.
func (s *screens) sweep(t *scanTable, screen event.Screen, source uint64, p *hook.Packet) outcome {
	if t == nil {
		return under
	}
	return s.scan(t, screen, source, uint32(s.hashOf(&p.Dst, p.Family, 0, 0)>>32), p.Time)
}

// scan asks a table, and turns crossed into over where the source was reported in this second already: intervals are
// much shorter than a second.
func (s *screens) scan(t *scanTable, screen event.Screen, source uint64, target uint32, now int64) outcome {
	if t == nil {
		return under
	}
	result := t.add(source, target, now)
	if result == crossed && s.quiet.add(s.hash.Sum3(source, uint64(screen), 0), now) != under {
		return over
	}
	return result
}

// quietSets is how many sets the table of reported scans has: 8,192 sources in 64 KiB.
const quietSets = 1024
