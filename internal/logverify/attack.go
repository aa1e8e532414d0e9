package logverify

import (
	"slices"
	"strings"
)

// attacks are the names of attacks and the tags that report them.
var attacks = map[string][]string{
	"SYN flood!":                     {"RT_SCREEN_TCP", "RT_SCREEN_TCP_SRC_IP", "RT_SCREEN_TCP_DST_IP"},
	"SYN flood Src-IP based!":        {"RT_SCREEN_TCP_SRC_IP"},
	"SYN flood Dst-IP based!":        {"RT_SCREEN_TCP_DST_IP"},
	"TCP port scan!":                 {"RT_SCREEN_TCP"},
	"TCP sweep!":                     {"RT_SCREEN_TCP"},
	"SYN and FIN bits!":              {"RT_SCREEN_TCP"},
	"No TCP flag!":                   {"RT_SCREEN_TCP"},
	"FIN but no ACK bit!":            {"RT_SCREEN_TCP"},
	"WinNuke attack!":                {"RT_SCREEN_TCP"},
	"SYN fragment!":                  {"RT_SCREEN_TCP"},
	"UDP flood!":                     {"RT_SCREEN_UDP"},
	"UDP sweep!":                     {"RT_SCREEN_UDP"},
	"UDP port scan!":                 {"RT_SCREEN_UDP"},
	"ICMP flood!":                    {"RT_SCREEN_ICMP"},
	"Address sweep!":                 {"RT_SCREEN_ICMP"},
	"Ping of Death!":                 {"RT_SCREEN_ICMP"},
	"ICMP fragment!":                 {"RT_SCREEN_ICMP"},
	"Large ICMP packet!":             {"RT_SCREEN_ICMP"},
	"Teardrop attack!":               {"RT_SCREEN_IP"},
	"Source Route IP option!":        {"RT_SCREEN_IP"},
	"Bad IP option!":                 {"RT_SCREEN_IP"},
	"Record Route IP option!":        {"RT_SCREEN_IP"},
	"Timestamp IP option!":           {"RT_SCREEN_IP"},
	"Security IP option!":            {"RT_SCREEN_IP"},
	"Stream IP option!":              {"RT_SCREEN_IP"},
	"Loose Source Route IP option!":  {"RT_SCREEN_IP"},
	"Strict Source Route IP option!": {"RT_SCREEN_IP"},
	"IP spoofing!":                   {"RT_SCREEN_IP"},
	"Unknown protocol!":              {"RT_SCREEN_IP"},
	"Fragmented traffic!":            {"RT_SCREEN_IP"},
	"Src IP session limit!":          {"RT_SCREEN_SESSION_LIMIT"},
	"Dst IP session limit!":          {"RT_SCREEN_SESSION_LIMIT"},
	// By the protocol that carried it.
	"Land attack!": {"RT_SCREEN_TCP", "RT_SCREEN_UDP", "RT_SCREEN_ICMP", "RT_SCREEN_IP"},
	"UNKNOWN":      {"RT_SCREEN_TCP", "RT_SCREEN_UDP", "RT_SCREEN_ICMP", "RT_SCREEN_IP"},
}

// checkAttack checks the name of an attack, and that its tag reports it.
func (c *Checker) checkAttack(tag string, e *element) {
	for _, p := range e.params {
		if p.name != "attack-name" {
			continue
		}
		tags, ok := attacks[p.value]
		switch {
		case !ok:
			c.report(p.valueAt, "attack-name %q is no attack that a screen reports", p.value)
		case !slices.Contains(tags, tag):
			c.report(p.valueAt, "attack-name %q in a message %s, it belongs to %s", p.value, tag, strings.Join(tags, ", "))
		}
	}
}
