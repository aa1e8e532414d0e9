package screendrop

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	netbiosSession = 139   // the port that WinNuke aims at
	largeICMP      = 1024  // an ICMP packet with a longer IP length is large
	maxIPLength    = 65535 // what a reassembled packet may not exceed
	firstUnknown   = 137   // the lowest protocol number that is unknown to Junos
)

// signatures are the screens that need one packet only.
type signatures struct {
	on      uint64 // bit per event.Screen
	options packet.Options
}

func newSignatures(c *settings) (g signatures) {
	for _, s := range []struct {
		on     bool
		screen event.Screen
	}{
		{c.TCP.SYNFIN, event.ScreenSYNFIN}, {c.TCP.NoFlag, event.ScreenNoFlag}, {c.TCP.FINNoACK, event.ScreenFINNoACK},
		{c.TCP.Land, event.ScreenLand}, {c.TCP.WinNuke, event.ScreenWinNuke}, {c.TCP.SYNFrag, event.ScreenSYNFrag},
		{c.ICMP.PingDeath, event.ScreenPingDeath}, {c.ICMP.Fragment, event.ScreenICMPFragment},
		{c.ICMP.Large, event.ScreenICMPLarge},
		{c.IP.BlockFrag, event.ScreenBlockFrag}, {c.IP.UnknownProtocol, event.ScreenUnknownProtocol},
		{c.IP.BadOption, event.ScreenBadOption}, {c.IP.SourceRoute, event.ScreenSourceRoute},
		{c.IP.LooseSource, event.ScreenLooseSourceRoute}, {c.IP.StrictSource, event.ScreenStrictSourceRoute},
		{c.IP.RecordRoute, event.ScreenRecordRoute}, {c.IP.Timestamp, event.ScreenTimestamp},
		{c.IP.Security, event.ScreenSecurity}, {c.IP.Stream, event.ScreenStream},
	} {
		if s.on {
			g.on |= 1 << s.screen
		}
	}
	for _, o := range optionScreens {
		if g.has(o.screen) {
			g.options |= o.options
		}
	}
	return g
}

func (g *signatures) has(s event.Screen) bool { return g.on&(1<<s) != 0 }

// optionScreens are the screens for IP options, in order: a packet with a loose source route is reported as such, and as
// a source route only if that screen is off.
var optionScreens = [...]struct {
	screen  event.Screen
	options packet.Options
}{
	{event.ScreenBadOption, packet.OptBad},
	{event.ScreenLooseSourceRoute, packet.OptLooseSource},
	{event.ScreenStrictSourceRoute, packet.OptStrictSource},
	{event.ScreenSourceRoute, packet.OptLooseSource | packet.OptStrictSource},
	{event.ScreenRecordRoute, packet.OptRecordRoute},
	{event.ScreenTimestamp, packet.OptTimestamp},
	{event.ScreenSecurity, packet.OptSecurity},
	{event.ScreenStream, packet.OptStream},
}

// header applies the screens that need no transport header, and those for fragments.
func (g *signatures) header(h *packet.Headers) event.Screen {
	if h.Options&g.options != 0 {
		return g.option(h.Options)
	}
	if h.Proto >= firstUnknown && g.has(event.ScreenUnknownProtocol) {
		return event.ScreenUnknownProtocol
	}
	if h.Fragment {
		if s := g.fragment(h); s != none {
			return s
		}
	}
	if packet.IsICMP(h.Proto) && h.IPLen > largeICMP && g.has(event.ScreenICMPLarge) {
		return event.ScreenICMPLarge
	}
	return none
}

func (g *signatures) option(o packet.Options) event.Screen {
	for i := range optionScreens {
		if s := &optionScreens[i]; o&s.options != 0 && g.has(s.screen) {
			return s.screen
		}
	}
	return none
}

func (g *signatures) fragment(h *packet.Headers) event.Screen {
	icmp := packet.IsICMP(h.Proto)
	switch {
	case icmp && g.has(event.ScreenPingDeath) && uint32(h.FragOff)+uint32(h.DataLen) > maxIPLength:
		return event.ScreenPingDeath
	case icmp && g.has(event.ScreenICMPFragment):
		return event.ScreenICMPFragment
	case g.has(event.ScreenSYNFrag) && h.Proto == packet.ProtoTCP && h.HasL4 && h.TCPFlags&packet.SYN != 0:
		return event.ScreenSYNFrag
	case g.has(event.ScreenBlockFrag):
		return event.ScreenBlockFrag
	}
	return none
}

// flags applies the screens for the TCP header, except WinNuke. The header has been read.
func (g *signatures) flags(h *packet.Headers) event.Screen {
	const synFIN = packet.SYN | packet.FIN
	switch {
	case h.TCPFlags&synFIN == synFIN && g.has(event.ScreenSYNFIN):
		return event.ScreenSYNFIN
	case h.TCPFlags == 0 && g.has(event.ScreenNoFlag):
		return event.ScreenNoFlag
	case h.TCPFlags&(packet.FIN|packet.ACK) == packet.FIN && g.has(event.ScreenFINNoACK):
		return event.ScreenFINNoACK
	case h.TCPFlags&packet.SYN != 0 && h.Src == h.Dst && g.has(event.ScreenLand):
		return event.ScreenLand
	}
	return none
}
