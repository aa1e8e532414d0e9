package screendrop

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	netbiosSession = 139   // the port that WinNuke aims at
	largeICMP      = 1024  // an ICMP packet with a longer IP length is large
	maxIPLength    = 65535 // what a reassembled packet may not exceed
	flagsEnd       = 14    // bytes of a TCP header up to its flags
	firstUnknown   = 137   // the lowest protocol number that is unknown to Junos
)

// signatures are the screens that need one packet only.
type signatures struct {
	on      uint64 // bit per event.Screen
	options packet.Options
}

func newSignatures(o *options) (g signatures) {
	for _, s := range []struct {
		on     bool
		screen event.Screen
	}{
		{o.TCP.SYNFIN, event.ScreenSYNFIN}, {o.TCP.NoFlag, event.ScreenNoFlag}, {o.TCP.FINNoACK, event.ScreenFINNoACK},
		{o.TCP.Land, event.ScreenLand}, {o.TCP.WinNuke, event.ScreenWinNuke}, {o.TCP.SYNFrag, event.ScreenSYNFrag},
		{o.ICMP.PingDeath, event.ScreenPingDeath}, {o.ICMP.Fragment, event.ScreenICMPFragment},
		{o.ICMP.Large, event.ScreenICMPLarge},
		{o.IP.BlockFrag, event.ScreenBlockFrag}, {o.IP.UnknownProtocol, event.ScreenUnknownProtocol},
		{o.IP.BadOption, event.ScreenBadOption}, {o.IP.SourceRoute, event.ScreenSourceRoute},
		{o.IP.LooseSource, event.ScreenLooseSourceRoute}, {o.IP.StrictSource, event.ScreenStrictSourceRoute},
		{o.IP.RecordRoute, event.ScreenRecordRoute}, {o.IP.Timestamp, event.ScreenTimestamp},
		{o.IP.Security, event.ScreenSecurity}, {o.IP.Stream, event.ScreenStream},
	} {
		if s.on {
			g.on |= 1 << s.screen
		}
	}
	for _, s := range optionScreens {
		if g.has(s.screen) {
			g.options |= s.options
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

// header applies the screens for IP options and protocols.
func (g *signatures) header(h *packet.Headers) event.Screen {
	if h.Options&g.options != 0 {
		return g.option(h.Options)
	}
	if h.Proto >= firstUnknown && g.has(event.ScreenUnknownProtocol) {
		return event.ScreenUnknownProtocol
	}
	return none
}

// large reports whether the screen for large ICMP packets fires.
func (g *signatures) large(h *packet.Headers) bool {
	return h.IPLen > largeICMP && packet.IsICMP(h.Proto) && g.has(event.ScreenICMPLarge)
}

func (g *signatures) option(o packet.Options) event.Screen {
	for i := range optionScreens {
		if s := &optionScreens[i]; o&s.options != 0 && g.has(s.screen) {
			return s.screen
		}
	}
	return none
}

// pingDeath reports whether the screen for a fragment fires that ends behind the longest packet there can be, whichever
// fragment it is.
func (g *signatures) pingDeath(h *packet.Headers) bool {
	return uint32(h.FragOff)+h.DataLen > maxIPLength && packet.IsICMP(h.Proto) && g.has(event.ScreenPingDeath)
}

// fragment applies the other screens that need one fragment only.
func (g *signatures) fragment(h *packet.Headers) event.Screen {
	switch {
	case packet.IsICMP(h.Proto) && g.has(event.ScreenICMPFragment):
		return event.ScreenICMPFragment
	case g.has(event.ScreenSYNFrag) && h.Proto == packet.ProtoTCP && (h.HasL4 && h.TCPFlags&packet.SYN != 0 || hidesFlags(h)):
		return event.ScreenSYNFrag
	case g.has(event.ScreenBlockFrag):
		return event.ScreenBlockFrag
	}
	return none
}

// hidesFlags reports whether a fragment of a TCP segment is made so that the flags are not in the first one (RFC 1858
// section 3), or are replaced by a later one (section 4): whether it is a SYN cannot be told.
func hidesFlags(h *packet.Headers) bool {
	if h.FragOff == 0 {
		return h.DataLen < flagsEnd
	}
	return h.FragOff < flagsEnd
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
