package event

// Action is what was done with the packet (record byte 54).
type Action uint8

// Values of Action.
const (
	ActionDeny   Action = 0 // deny, discard, drop
	ActionPermit Action = 1 // permit, accept; for a screen: alarm-without-drop
	ActionReject Action = 2
)

// CloseReason says why a session ended (record byte 134 of a SessionClose record). Values up to 5 are those of the reference
// protocol; those from 6 on are extensions of pipelined, which the texts of log lines distinguish.
type CloseReason uint8

// Values of CloseReason.
const (
	CloseNone      CloseReason = 0
	CloseTimeout   CloseReason = 1
	CloseFIN       CloseReason = 2
	CloseRST       CloseReason = 3 // from either end
	CloseAgeOut    CloseReason = 4
	ClosePolicy    CloseReason = 5
	CloseClientRST CloseReason = 6
	CloseServerRST CloseReason = 7
	CloseResponse  CloseReason = 8 // ICMP echo answered
	CloseICMPError CloseReason = 9
)

// Screen is the screen that fired. Up to ScreenUnknownProtocol its flag mask in the record is 1 << Screen: exactly one bit
// is set. Bits 0 to 17 are those of the reference protocol, the others are extensions of pipelined.
type Screen uint8

// Values of Screen.
const (
	ScreenSYNFlood Screen = iota
	ScreenICMPFlood
	ScreenUDPFlood
	ScreenPortScan
	ScreenIPSweep
	ScreenLand
	ScreenPingDeath
	ScreenTearDrop
	ScreenSYNFIN
	ScreenNoFlag
	ScreenFINNoACK
	ScreenWinNuke
	ScreenSourceRoute
	ScreenSYNFrag
	ScreenSYNCookie
	ScreenSessionLimitSrc
	ScreenSessionLimitDst
	ScreenICMPFragment
	ScreenICMPLarge
	ScreenTCPSweep
	ScreenUDPSweep
	ScreenUDPPortScan
	ScreenBadOption
	ScreenRecordRoute
	ScreenTimestamp
	ScreenSecurity
	ScreenStream
	ScreenLooseSourceRoute
	ScreenStrictSourceRoute
	ScreenSpoofing
	ScreenUnknownProtocol
	// ScreenExtended is no screen but the bit of the mask that says that the value of Screen is in record bytes 56 to 59, the
	// rule id of other kinds: the 32 bits of the mask are used up.
	ScreenExtended
	ScreenBlockFrag
	ScreenSYNFloodSrc
	ScreenSYNFloodDst

	NumScreens = 35
)

var screenNames = [NumScreens]string{
	"syn-flood", "icmp-flood", "udp-flood", "port-scan", "ip-sweep", "land", "ping-death", "tear-drop", "syn-fin",
	"tcp-no-flag", "fin-no-ack", "winnuke", "source-route-option", "syn-frag", "syn-cookie", "limit-session-source",
	"limit-session-destination", "icmp-fragment", "icmp-large", "tcp-sweep", "udp-sweep", "udp-port-scan", "bad-option",
	"record-route-option", "timestamp-option", "security-option", "stream-option", "loose-source-route-option",
	"strict-source-route-option", "spoofing", "unknown-protocol", "extended", "block-frag", "syn-flood-source",
	"syn-flood-destination",
}

// String returns the screen's name as it stands in the configuration and in metrics.
func (s Screen) String() string {
	if s < NumScreens {
		return screenNames[s]
	}
	return "unknown"
}

// FilterSource is where a firewall filter is attached (record byte 134 of a FilterLog).
type FilterSource uint8

// Values of FilterSource.
const (
	FilterInput  FilterSource = 2
	FilterOutput FilterSource = 3
)

// LossReason says why events are missing.
type LossReason uint8

// Values of LossReason.
const (
	LossRateLimited LossReason = 1 // refused by the admission limiter
	LossOverBudget  LossReason = 2 // refused by this sink's ring: no credit
	LossEvicted     LossReason = 3 // admitted, then evicted from this sink's ring
	// LossDisconnected is LossOverBudget while the sink had no destination: it was between two runs, or waited for one.
	LossDisconnected LossReason = 4
	LossAbandoned    LossReason = 5 // given up when an earlier run stopped: held, refused, or lost and not announced
	// LossUnread is what the kernel had to tell and dropped, because it was not read in time. It is at most as many.
	LossUnread LossReason = 6
	// LossRestart is the time between two runs of the daemon of which the later goes on with the stream of the earlier: nobody knows
	// what happened, and all counts are 0, but for [Record.LossPackets].
	LossRestart LossReason = 7
	// LossDamaged is what a spool has held and cannot read any more: its disk, or somebody who writes to it, has changed it.
	LossDamaged LossReason = 8
)

var lossNames = [...]string{"unknown", "rate_limited", "over_budget", "evicted", "disconnected", "abandoned", "unread", "restart", "damaged"}

// String returns the reason as it stands in the ledger.
func (r LossReason) String() string {
	if int(r) < len(lossNames) {
		return lossNames[r]
	}
	return lossNames[0]
}

// Family values of record byte 55.
const (
	FamilyIPv4 = 2
	FamilyIPv6 = 10
)
