package logverify

import (
	"slices"
	"strings"
)

// Profiles: which releases of Junos a message is checked against.
const (
	Junos19 = "junos-19"
	Junos20 = "junos-20-21"
	Junos22 = "junos-22-24"
	Junos25 = "junos-25.4"
)

// Profiles lists the profiles, the oldest first.
func Profiles() []string { return []string{Junos19, Junos20, Junos22, Junos25} }

// Orders of the parameters, to the letter. SID is the session id, whose name differs between the profiles.
const (
	flow = "source-address source-port destination-address destination-port connection-tag service-name " +
		"nat-source-address nat-source-port nat-destination-address nat-destination-port nat-connection-tag " +
		"src-nat-rule-type src-nat-rule-name dst-nat-rule-type dst-nat-rule-name protocol-id policy-name source-zone-name " +
		"destination-zone-name SID "
	identified = "application-category application-sub-category application-risk application-characteristics "
	groups     = "src-vrf-grp dst-vrf-grp "

	created19 = flow + "username roles packet-incoming-interface application nested-application encrypted " + identified
	closed19  = "reason " + flow + "packets-from-client bytes-from-client packets-from-server bytes-from-server elapsed-time " +
		"application nested-application username roles packet-incoming-interface encrypted " + identified
	denied19 = "source-address source-port destination-address destination-port connection-tag service-name protocol-id icmp-type " +
		"policy-name source-zone-name destination-zone-name application nested-application username roles " +
		"packet-incoming-interface encrypted reason SID " + identified

	created20 = created19 + groups
	closed20  = closed19 + "secure-web-proxy-session-type peer-session-id peer-source-address peer-source-port " +
		"peer-destination-address peer-destination-port hostname " + groups
	denied20 = denied19 + groups

	created22 = created20 + "tunnel-inspection tunnel-inspection-policy-set source-tenant destination-service "
	closed22  = closed20 + "tunnel-inspection tunnel-inspection-policy-set session-flag source-tenant destination-service "
	denied22  = denied20 + "source-tenant destination-service "

	context   = "dst-identity-context-name dst-identity-context-roles "
	created25 = created22 + context + "gbp-src-tag gbp-dst-tag forwarded-for src-vrf dst-vrf"
	closed25  = closed22 + "user-type " + context + "gbp-src-tag gbp-dst-tag forwarded-for url-host url-cat url-risk src-vrf dst-vrf"
	denied25  = denied22 + "user-type " + context + "source-country destination-country gbp-src-tag gbp-dst-tag " +
		"forwarded-for url-host url-cat url-risk src-vrf dst-vrf"

	place = "source-zone-name interface-name action"
)

// orders maps a tag to the orders it may have, by profile; "" is all.
var orders = map[string]map[string][]string{
	"RT_FLOW_SESSION_CREATE": {
		Junos19: words(created19), Junos20: words(created20), Junos22: words(created22), Junos25: words(created25),
	},
	"RT_FLOW_SESSION_CLOSE": {
		Junos19: words(closed19), Junos20: words(closed20), Junos22: words(closed22), Junos25: words(closed25),
	},
	"RT_FLOW_SESSION_DENY": {
		Junos19: words(denied19), Junos20: words(denied20), Junos22: words(denied22), Junos25: words(denied25),
	},
	"RT_SCREEN_TCP":        {"": words("attack-name source-address source-port destination-address destination-port " + place)},
	"RT_SCREEN_UDP":        {"": words("attack-name source-address source-port destination-address destination-port " + place)},
	"RT_SCREEN_ICMP":       {"": words("attack-name source-address destination-address " + place)},
	"RT_SCREEN_IP":         {"": words("attack-name source-address destination-address protocol-id " + place)},
	"RT_SCREEN_TCP_SRC_IP": {"": words("attack-name source-address " + place)},
	"RT_SCREEN_TCP_DST_IP": {"": words("attack-name destination-address " + place)},
	"PFE_FW_SYSLOG_IP": {"": words("interface-name action protocol-name source-address destination-address source-port " +
		"destination-port packet-count")},
}

// limitOrders are those of RT_SCREEN_SESSION_LIMIT: it names the side that is limited.
var limitOrders = [][]string{
	words("attack-name source-address " + place), words("attack-name destination-address " + place),
}

func words(s string) []string { return strings.Fields(s) }

// isDevice reports whether a tag is one of structured data that devices send.
func isDevice(tag string) bool {
	_, ok := orders[tag]
	return ok || tag == "RT_SCREEN_SESSION_LIMIT"
}

// priority is the PRI that devices give to a message (RFC 5424, 6.2.1); that of losses is ours.
func priority(app, tag string) (pri int, ok bool) {
	switch {
	case app == "pipelined" && tag == "LOSS":
		return 12, true // user.warning
	case tag == "PFE_FW_SYSLOG_IP", app == "-" && tag == "-":
		return 158, true // local3.info
	case !isDevice(tag):
		return 0, false
	case strings.HasPrefix(tag, "RT_SCREEN_"):
		return 11, true // user.err
	}
	return 14, true // user.info
}

// program is the APP-NAME of a tag.
func program(tag string) string {
	switch {
	case strings.HasPrefix(tag, "RT_FLOW_"):
		return "RT_FLOW"
	case strings.HasPrefix(tag, "RT_SCREEN_"):
		return "RT_IDS"
	default:
		return "-"
	}
}

// sessionID returns the name of the session id.
func sessionID(profile string) string {
	if isOld(profile) {
		return "session-id-32"
	}
	return "session-id"
}

func isOld(profile string) bool { return profile == Junos19 || profile == Junos20 }

// since22 are the values that releases before 22.2 do not print.
var since22 = map[string][]string{
	"reason":           {"TCP CLIENT RST", "TCP SERVER RST"},
	"application-risk": {"-1"},
	"attack-name":      {"SYN flood Src-IP based!", "SYN flood Dst-IP based!"},
}

// releaseProblem says why a release does not print the value of a parameter, "" if it does.
func releaseProblem(profile, name, value string) string {
	if isOld(profile) && slices.Contains(since22[name], value) {
		return "is of 22.2 and later (" + profile + ")"
	}
	return ""
}

// order returns the parameters of a tag for a profile. The lists of the session limit depend on what the message has.
func order(tag, profile string, has func(name string) bool) []string {
	if tag == "RT_SCREEN_SESSION_LIMIT" {
		if has("source-address") {
			return limitOrders[0]
		}
		return limitOrders[1]
	}
	by := orders[tag]
	if list, ok := by[""]; ok {
		return list
	}
	return by[profile]
}
