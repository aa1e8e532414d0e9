package format

import "github.com/rtflow/pipelined/sdk/event"

// screenTag is the message that reports a screen: it decides which parameters the line has.
type screenTag uint8

const (
	screenTCP screenTag = iota
	screenUDP
	screenICMP
	screenIP
	screenTCPSrcIP
	screenTCPDstIP
	screenSessionLimit

	numScreenTags = 7
)

// String returns the MSGID.
func (t screenTag) String() string {
	return [numScreenTags]string{
		"RT_SCREEN_TCP", "RT_SCREEN_UDP", "RT_SCREEN_ICMP", "RT_SCREEN_IP", "RT_SCREEN_TCP_SRC_IP", "RT_SCREEN_TCP_DST_IP",
		"RT_SCREEN_SESSION_LIMIT",
	}[t]
}

// screenText holds how a screen is reported. The names are exactly those of Juniper, with the exclamation mark.
type screenText struct {
	tag    screenTag
	attack string
	action string // event.action, as the Elastic integration classes the attack
}

// Values of event.action.
const (
	didFlood    = "flood_detected"
	didScan     = "scan_detected"
	didSweep    = "sweep_detected"
	didFragment = "fragment_detected"
	didSpoofing = "spoofing_detected"
	didLimit    = "session_limit_detected"
	didTCPFlags = "illegal_tcp_flag_detected"
	didAttack   = "attack_detected"
)

// screenTexts holds the texts by screen. A name marked "seen" was found in messages of real devices, one marked "parsed" is
// known to public parsers or the vendor's older message catalogue; any other is formed like its neighbours and is a guess.
var screenTexts = [event.NumScreens]screenText{
	event.ScreenSYNFlood:          {screenTCP, "SYN flood!", didFlood},                     // seen
	event.ScreenICMPFlood:         {screenICMP, "ICMP flood!", didFlood},                   // parsed
	event.ScreenUDPFlood:          {screenUDP, "UDP flood!", didFlood},                     // seen
	event.ScreenPortScan:          {screenTCP, "TCP port scan!", didScan},                  // seen
	event.ScreenIPSweep:           {screenICMP, "Address sweep!", didSweep},                // parsed
	event.ScreenLand:              {screenTCP, "Land attack!", didAttack},                  // parsed, without its tag
	event.ScreenPingDeath:         {screenICMP, "Ping of Death!", didAttack},               // parsed
	event.ScreenTearDrop:          {screenIP, "Teardrop attack!", didAttack},               // parsed
	event.ScreenSYNFIN:            {screenTCP, "SYN and FIN bits!", didTCPFlags},           // parsed
	event.ScreenNoFlag:            {screenTCP, "No TCP flag!", didTCPFlags},                // parsed
	event.ScreenFINNoACK:          {screenTCP, "FIN but no ACK bit!", didTCPFlags},         // seen
	event.ScreenWinNuke:           {screenTCP, "WinNuke attack!", didAttack},               // seen
	event.ScreenSourceRoute:       {screenIP, "Source Route IP option!", didAttack},        // parsed
	event.ScreenSYNFrag:           {screenTCP, "SYN fragment!", didFragment},               // parsed
	event.ScreenSYNCookie:         {screenTCP, "SYN flood!", didFlood},                     // seen: a cookie answers a flood
	event.ScreenSessionLimitSrc:   {screenSessionLimit, "Src IP session limit!", didLimit}, // parsed; the tag is a guess
	event.ScreenSessionLimitDst:   {screenSessionLimit, "Dst IP session limit!", didLimit}, // parsed; the tag is a guess
	event.ScreenICMPFragment:      {screenICMP, "ICMP fragment!", didFragment},             // seen
	event.ScreenICMPLarge:         {screenICMP, "Large ICMP packet!", didAttack},           // parsed
	event.ScreenTCPSweep:          {screenTCP, "TCP sweep!", didSweep},                     // seen
	event.ScreenUDPSweep:          {screenUDP, "UDP sweep!", didSweep},                     // parsed
	event.ScreenUDPPortScan:       {screenUDP, "UDP port scan!", didScan},
	event.ScreenBadOption:         {screenIP, "Bad IP option!", didAttack},          // parsed
	event.ScreenRecordRoute:       {screenIP, "Record Route IP option!", didAttack}, // seen
	event.ScreenTimestamp:         {screenIP, "Timestamp IP option!", didAttack},
	event.ScreenSecurity:          {screenIP, "Security IP option!", didAttack},
	event.ScreenStream:            {screenIP, "Stream IP option!", didAttack},
	event.ScreenLooseSourceRoute:  {screenIP, "Loose Source Route IP option!", didAttack},
	event.ScreenStrictSourceRoute: {screenIP, "Strict Source Route IP option!", didAttack},
	event.ScreenSpoofing:          {screenIP, "IP spoofing!", didSpoofing},               // seen
	event.ScreenUnknownProtocol:   {screenIP, "Unknown protocol!", didAttack},            // parsed
	event.ScreenExtended:          {},                                                    // no screen, a marker in the mask
	event.ScreenBlockFrag:         {screenIP, "Fragmented traffic!", didFragment},        // parsed
	event.ScreenSYNFloodSrc:       {screenTCPSrcIP, "SYN flood Src-IP based!", didFlood}, // parsed; see profile
	event.ScreenSYNFloodDst:       {screenTCPDstIP, "SYN flood Dst-IP based!", didFlood}, // parsed; see profile
}

// screenOf returns the text for a screen record. A land attack is reported by the protocol that carried it, and so is a mask
// that names no screen, as a record from elsewhere may have.
func screenOf(r *event.Record) screenText {
	s := r.Screen()
	if s >= event.NumScreens || s == event.ScreenExtended {
		return screenText{tagByProtocol(r.Proto()), "UNKNOWN", didAttack}
	}
	t := screenTexts[s]
	if s == event.ScreenLand {
		t.tag = tagByProtocol(r.Proto())
	}
	return t
}

func tagByProtocol(proto uint8) screenTag {
	switch proto {
	case protoTCP:
		return screenTCP
	case protoUDP:
		return screenUDP
	case protoICMP, protoICMPv6:
		return screenICMP
	default:
		return screenIP
	}
}

// attackName returns the attack name for a screen record. The releases differ in that of the SYN floods counted by address.
func (p *profile) attackName(t screenText) string {
	switch t.tag {
	case screenTCPSrcIP:
		return p.synFloodSrc
	case screenTCPDstIP:
		return p.synFloodDst
	default:
		return t.attack
	}
}

func screenAction(a event.Action) string {
	if a == event.ActionPermit {
		return "alarm-without-drop"
	}
	return "drop"
}

func (e *syslogEncoder) appendScreen(b []byte, r *event.Record, n *event.Names) []byte {
	t := screenOf(r)
	b = appendHeader(b, &e.screens[t.tag], r.Time())
	b = append(b, ` attack-name="`...)
	b = append(b, e.attackName(t)...)
	b = append(b, '"')
	if t.tag != screenTCPDstIP && r.Screen() != event.ScreenSessionLimitDst {
		b = append(b, ` source-address="`...)
		b = appendAddr(b, r.Src())
		b = append(b, '"')
	}
	if t.tag == screenTCP || t.tag == screenUDP {
		b = append(b, ` source-port="`...)
		b = appendUint(b, uint64(r.SrcPort()))
		b = append(b, '"')
	}
	if t.tag != screenTCPSrcIP && r.Screen() != event.ScreenSessionLimitSrc {
		b = append(b, ` destination-address="`...)
		b = appendAddr(b, r.Dst())
		b = append(b, '"')
	}
	switch t.tag {
	case screenTCP, screenUDP:
		b = append(b, ` destination-port="`...)
		b = appendUint(b, uint64(r.DstPort()))
		b = append(b, '"')
	case screenIP:
		b = append(b, ` protocol-id="`...)
		b = appendUint(b, uint64(r.Proto()))
		b = append(b, '"')
	}
	b = append(b, ` source-zone-name="`...)
	b = appendValue(b, n.Zone(r.InZone()))
	b = append(b, `" interface-name="`...)
	b = appendValue(b, n.Interface(r.Interface()))
	b = append(b, `" action="`...)
	b = append(b, screenAction(r.Action())...)
	return append(b, `"]`...)
}

// ScreenOf returns the screen that the attack name of a record stands for, in any profile; tag is that of the record, "" if it is not
// known. Without a tag, or with that of the protocol alone, "SYN flood!" is the screen that counts by destination and port.
func ScreenOf(tag, attack string) (s event.Screen, ok bool) {
	switch tag {
	case screenTCPSrcIP.String():
		return event.ScreenSYNFloodSrc, true
	case screenTCPDstIP.String():
		return event.ScreenSYNFloodDst, true
	}
	for s, t := range screenTexts {
		if t.attack == attack && attack != "" {
			return event.Screen(s), true
		}
	}
	return 0, false
}
