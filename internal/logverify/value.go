package logverify

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// texts are the values that a parameter may have where these are few.
var texts = map[string][]string{
	"RT_FLOW_SESSION_CLOSE reason": {
		"TCP FIN", "TCP RST", "TCP CLIENT RST", "TCP SERVER RST", "idle Timeout", "response received", "unset", "ICMP error",
		"policy delete", "aged out", "application failure or action", "HA", "HA N/A", "Closed by junos-alg", "Closed by junos-dynapp",
	},
	"RT_FLOW_SESSION_DENY reason": {"Denied by policy", "policy deny", "Rejected by policy"},
	"PFE_FW_SYSLOG_IP action":     {"accept", "discard", "reject"},
	"encrypted":                   {"Yes", "No", "UNKNOWN"},
	"action":                      {"drop", "alarm-without-drop"},
	"application-risk":            {"1", "2", "3", "4", "5", "-1"},
	"src-nat-rule-type":           {"N/A", "source rule", "static rule"},
	"dst-nat-rule-type":           {"N/A", "destination rule", "static rule"},
	"tunnel-inspection":           {"Off", "On"},
}

// numbers are the parameters that are unsigned integers, and their bits.
var numbers = map[string]int{
	"source-port": 16, "destination-port": 16, "nat-source-port": 16, "nat-destination-port": 16, "peer-source-port": 16,
	"peer-destination-port": 16, "protocol-id": 8, "icmp-type": 8, "connection-tag": 32, "nat-connection-tag": 32,
	"session-id-32": 32, "session-id": 64, "peer-session-id": 64, "packets-from-client": 64, "bytes-from-client": 64,
	"packets-from-server": 64, "bytes-from-server": 64, "elapsed-time": 31, "session-flag": 32, "packet-count": 32,
	"gbp-src-tag": 32, "gbp-dst-tag": 32, "url-risk": 32,
}

// valueProblem says why the value of a parameter is not valid, "" if it is.
func valueProblem(tag, name, value string) string {
	allowed, ok := texts[tag+" "+name]
	if !ok {
		allowed, ok = texts[name]
	}
	if ok {
		if slices.Contains(allowed, value) {
			return ""
		}
		return "is none of " + strings.Join(allowed, ", ")
	}
	if bits, ok := numbers[name]; ok {
		if !isNumber(value, bits) {
			return "is no integer of " + strconv.Itoa(bits) + " bits"
		}
		return ""
	}
	switch {
	case strings.HasSuffix(name, "-address"):
		if !isAddress(value) {
			return "is no address"
		}
	case value == "":
		return "is empty"
	}
	return ""
}

func isAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// isNumber reports whether s is an unsigned integer of so many bits as it is printed: without leading zeros.
func isNumber(s string, bits int) bool {
	n, err := strconv.ParseUint(s, 10, bits)
	return err == nil && strconv.FormatUint(n, 10) == s
}
