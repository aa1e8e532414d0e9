package packettext

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
)

// parameter returns the value of a parameter of structured data, "" if it is not there.
func parameter(line, name string) string {
	_, rest, found := strings.Cut(line, " "+name+`="`)
	if !found {
		return ""
	}
	text, _, _ := strings.Cut(rest, `"`)
	return text
}

// structured reads the structured data of RFC 5424.
func structured(line string) (r record, ok bool) {
	value := func(name string) string { return parameter(line, name) }
	r = record{
		src: value("source-address"), dst: value("destination-address"),
		srcPort: value("source-port"), dstPort: value("destination-port"), proto: value("protocol-id"), in: value("packet-incoming-interface"),
		from: value("source-zone-name"), to: value("destination-zone-name"), rule: value("policy-name"),
	}
	if r.src == "" || r.dst == "" || strings.Contains(line, "RT_SCREEN_") {
		return r, false
	}
	if r.proto == "" { // of a filter
		r.filter = true
		r.proto, r.in = value("protocol-name"), value("interface-name")
	}
	if strings.Contains(line, "_DENY ") {
		r.icmpType = value("icmp-type")
	}
	return r, true
}

// jsonRecord reads a JSON object, also behind a header of syslog.
func jsonRecord(line string) (r record, ok bool) {
	at := strings.IndexByte(line, '{')
	if at < 0 {
		return r, false
	}
	var v flowJSON
	if json.Unmarshal([]byte(line[at:]), &v) != nil || v.Source.IP == "" || v.Destination.IP == "" || v.Event.Kind == "alert" {
		return r, false
	}
	return v.record(), true
}

// flowJSON is what JSON has of a packet.
type flowJSON struct {
	Source      endJSON `json:"source"`
	Destination endJSON `json:"destination"`
	Event       struct {
		Kind   string `json:"kind"`
		Action string `json:"action"`
	} `json:"event"`
	Network struct {
		Number string `json:"iana_number"`
	} `json:"network"`
	Observer struct {
		Ingress struct {
			Zone      string `json:"zone"`
			Interface struct {
				Name string `json:"name"`
			} `json:"interface"`
		} `json:"ingress"`
		Egress struct {
			Zone string `json:"zone"`
		} `json:"egress"`
	} `json:"observer"`
	Rule struct {
		Name string `json:"name"`
		Set  string `json:"ruleset"`
	} `json:"rule"`
}

type endJSON struct {
	IP   string `json:"ip"`
	Port uint16 `json:"port"`
}

func (v *flowJSON) record() record {
	r := record{
		proto: v.Network.Number, src: v.Source.IP, dst: v.Destination.IP,
		srcPort: strconv.Itoa(int(v.Source.Port)), dstPort: strconv.Itoa(int(v.Destination.Port)), in: v.Observer.Ingress.Interface.Name,
		from: v.Observer.Ingress.Zone, to: v.Observer.Egress.Zone, rule: v.Rule.Name,
	}
	if v.Rule.Set != "" || strings.HasPrefix(v.Event.Action, "filter_") {
		r.filter, r.rule, r.term = true, v.Rule.Set, v.Rule.Name
	}
	return r
}

// flowText reads a record of RT_FLOW without structured data: "… session denied A/P->B/P 0x0 APP 6(0) …".
func flowText(line string) (r record, ok bool) {
	tag, rest, ok := strings.Cut(line, ": session ")
	if !ok || !strings.Contains(tag, "RT_FLOW_SESSION_") {
		return r, false
	}
	words := strings.Fields(rest)
	for i, word := range words {
		from, to, isFlow := strings.Cut(word, "->")
		if !isFlow {
			continue
		}
		if r.src == "" {
			r.src, r.srcPort, _ = strings.Cut(from, "/")
			r.dst, r.dstPort, _ = strings.Cut(to, "/")
		}
		words = words[i+1:]
		break
	}
	// Of a denial the protocol has the ICMP type behind it, "1(8)". Of a session it is a number alone, behind the translated ends.
	for i, word := range words {
		number, icmpType, denial := strings.Cut(strings.TrimSuffix(word, ")"), "(")
		n, err := strconv.ParseUint(number, 10, 8)
		switch {
		case err != nil || r.proto != "":
		case denial:
			r.proto = strconv.FormatUint(n, 10)
			if _, err := strconv.ParseUint(icmpType, 10, 8); err == nil {
				r.icmpType = icmpType
			}
		case !denial && !strings.Contains(word, "("):
			r.proto = word
		}
		if r.proto != "" { // the policy and the zones follow
			if rest := words[i+1:]; len(rest) >= 3 {
				r.rule, r.from, r.to = rest[0], rest[1], rest[2]
			}
			break
		}
	}
	for i, word := range words { // the interface follows the user and the roles, "N/A(N/A)"
		if strings.HasSuffix(word, ")") && strings.Contains(word, "(") && (word[0] < '0' || word[0] > '9') && i+1 < len(words) {
			r.in = words[i+1]
		}
	}
	return r, r.src != "" && r.proto != ""
}

// splitEnd splits "A:P" or "A"; of an address of IPv6 without brackets the last part is the port.
func splitEnd(text string) (addr, port string) {
	if end, err := netip.ParseAddrPort(text); err == nil {
		return end.Addr().String(), strconv.Itoa(int(end.Port()))
	}
	if _, err := netip.ParseAddr(text); err == nil {
		return text, ""
	}
	if at := strings.LastIndexByte(text, ':'); at > 0 {
		return text[:at], text[at+1:]
	}
	return "", ""
}

// filterText reads a record of a filter without structured data: "… FW: I D tcp A B P P (1 packets)".
func filterText(line string) (r record, ok bool) {
	_, rest, ok := strings.Cut(line, "PFE_FW_SYSLOG_IP")
	if !ok {
		return r, false
	}
	if _, rest, ok = strings.Cut(rest, ": FW: "); !ok {
		return r, false
	}
	words := strings.Fields(rest)
	if len(words) < 7 {
		return r, false
	}
	r = record{filter: true, in: words[0], proto: words[2], src: words[3], dst: words[4], srcPort: words[5], dstPort: words[6]}
	if r.proto == "icmp" || r.proto == "icmp6" {
		r.icmpType = r.srcPort
	}
	return r, true
}
