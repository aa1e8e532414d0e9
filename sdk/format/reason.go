package format

import "github.com/rtflow/pipelined/sdk/event"

// numCloseReasons is how many close reasons there are. Another one is printed like CloseNone.
const numCloseReasons = event.CloseICMPError + 1

// closeReason returns the text of a close reason as releases from 22.2 on print it.
func closeReason(c event.CloseReason) string {
	switch c {
	case event.CloseTimeout, event.CloseAgeOut: // "aged out" is documented; no device is known to send it
		return "idle Timeout"
	case event.CloseFIN:
		return "TCP FIN"
	case event.CloseRST:
		return "TCP RST"
	case event.CloseClientRST:
		return "TCP CLIENT RST"
	case event.CloseServerRST:
		return "TCP SERVER RST"
	case event.ClosePolicy:
		return "policy delete"
	case event.CloseResponse:
		return "response received"
	case event.CloseICMPError:
		return "ICMP error"
	default:
		return "unset"
	}
}

// closeReason20 is closeReason for releases before 22.2, which do not say who sent the reset.
func closeReason20(c event.CloseReason) string {
	if c == event.CloseClientRST || c == event.CloseServerRST {
		c = event.CloseRST
	}
	return closeReason(c)
}

// denyReason returns the text of a deny reason. The one for reject is formed like the other: no message of a
// device with it is known.
func denyReason(a event.Action) string {
	if a == event.ActionReject {
		return "Rejected by policy"
	}
	return "Denied by policy"
}
