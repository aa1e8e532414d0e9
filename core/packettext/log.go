package packettext

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/charmbracelet/x/ansi"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
)

// ErrNoRecord is the error of [ParseLog] for a line that does not tell enough of a packet: another program's, a record of lost events,
// and that of a screen, which looks at flags, options and rates: see [ParseScreen].
var ErrNoRecord = errors.New("no record of a session, of a denial or of a filter")

// Record is what a line of a log tells. A name that the line does not have is "".
type Record struct {
	Packet   *Packet // without the zones
	From, To string  // zones that the packet comes from and goes to
	// Rule is the policy that has decided; of the record of a filter the filter, and Term its term. In a line for people blanks in
	// names are '_'.
	Rule, Term string
	Filter     bool // it is the record of a filter
}

// ParseLog reads a line of a log and returns the packet that the record in it tells of, as [ParseRecord] does.
func ParseLog(line string) (*Packet, error) {
	r, err := ParseRecord(line)
	if err != nil {
		return nil, err
	}
	return r.Packet, nil
}

// ParseRecord reads a line of a log. Its packet is the one that the record in it tells of, of a session the one that began it. The
// line is what a sink writes in any of its formats, or a device that logs the same: syslog with structured data or without, JSON,
// or the short line for people. A record holds no flags, lengths and options, and most hold no ICMP type: they are those that
// [Parse] takes where a text says nothing. The error is [ErrNoRecord], or says what of the record cannot be understood.
func ParseRecord(line string) (*Record, error) {
	line = withoutColour(line)
	for _, read := range []func(line string) (record, bool){structured, jsonRecord, flowText, filterText, shortLine} {
		if r, ok := read(line); ok {
			text, err := r.text()
			if err != nil {
				return nil, err
			}
			p, err := Parse(text)
			if err != nil {
				return nil, err
			}
			return &Record{Packet: p, From: named(r.from), To: named(r.to), Rule: named(r.rule), Term: named(r.term), Filter: r.filter}, nil
		}
	}
	return nil, ErrNoRecord
}

// Unreadable returns why a line that looks like one of a log tells of no packet, and nil of any other text.
func Unreadable(line string) error {
	line = withoutColour(line)
	words := strings.Fields(line)
	switch {
	case strings.Contains(line, "events lost: reason="), strings.Contains(line, `"action":"events_lost"`), len(words) > 2 && words[1] == "lost":
		return errors.New("the line tells of events that were lost, and of no packet")
	case len(words) > 3 && words[3] == ">" && (words[1] == "screen" || words[1] == "alarm"), strings.HasPrefix(line, "{"), strings.HasPrefix(line, "<") && len(words) > 2, strings.Contains(line, "RT_FLOW"), strings.Contains(line, "RT_SCREEN_"),
		strings.Contains(line, "PFE_FW_SYSLOG_IP"):
		return errors.New("the line is no record of a session, of a denial, of a filter or of a screen")
	}
	return nil
}

// withoutColour takes the colours out of a line that was written for a terminal.
func withoutColour(line string) string {
	if !strings.Contains(line, "\x1b") {
		return line
	}
	return ansi.Strip(line)
}

// record is what a line says of a packet.
type record struct {
	proto            string // number or name
	src, dst         string
	srcPort, dstPort string
	icmpType         string // "": not said
	in               string // interface, "": not said
	from, to         string // zones, the same
	rule, term       string // that decided, the same
	filter           bool   // rule is a filter
}

// named returns a name of a record, "" where one stands for a name that is not known.
func named(name string) string {
	if name == "N/A" || name == "UNKNOWN" {
		return ""
	}
	return name
}

// text returns the packet in the words of the language.
func (r *record) text() (string, error) {
	proto, ok := application.ParseProtocol(r.proto)
	if !ok {
		return "", fmt.Errorf("the record is of an unknown protocol or application, %q", r.proto)
	}
	ends := [2]string{r.src, r.dst}
	if hasPorts(proto) {
		for i, port := range []string{r.srcPort, r.dstPort} {
			addr, err := netip.ParseAddr(ends[i])
			if err != nil {
				return "", fmt.Errorf("the record's address: %w", err)
			}
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				return "", fmt.Errorf("the record's port: %w", err)
			}
			ends[i] = netip.AddrPortFrom(addr, uint16(n)).String()
		}
	}
	text := fmt.Sprintf("%s %s > %s", application.ProtocolName(proto), ends[0], ends[1])
	if r.icmpType != "" && packet.IsICMP(proto) {
		text += " type " + r.icmpType
	}
	if r.in != "" && r.in != "N/A" && r.in != "UNKNOWN" && !strings.ContainsAny(r.in, " \t") {
		text += " in " + r.in
	}
	return text, nil
}

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

// shortLine reads the line for people: "10:15:21.003 deny A:P > B:P telnet POLICY FROM>TO".
func shortLine(line string) (r record, ok bool) {
	words := strings.Fields(line)
	if len(words) < 6 || words[3] != ">" || words[1] == "screen" || words[1] == "alarm" {
		return r, false
	}
	r.src, r.srcPort = splitEnd(words[2])
	r.dst, r.dstPort = splitEnd(words[4])
	if r.src == "" || r.dst == "" {
		return r, false
	}
	r.proto = strings.TrimPrefix(words[5], "ip-")
	if _, known := application.ParseProtocol(r.proto); !known {
		r.byApplication("junos-" + words[5])
	}
	rest := words[6:]
	if words[1] == "deny" || words[1] == "reject" || words[1] == "filter" {
		// Of ICMP the type follows, and behind a '/' the code. What has ports is not of ICMP.
		if n, _, _ := strings.Cut(first(rest), "/"); r.dstPort == "" && isNumber(n) {
			r.icmpType, rest = n, rest[1:]
		}
	}
	r.readShort(words[1], rest)
	return r, true
}

// readShort reads what a line for people has behind the two ends: zones, rule, interface, as far as they are known.
func (r *record) readShort(verb string, rest []string) {
	switch verb {
	case "filter": // ACTION FILTER/TERM INTERFACE
		r.filter = true
		if len(rest) < 2 {
			return
		}
		filter, term, ok := strings.Cut(rest[1], "/")
		switch {
		case !ok:
		case len(rest) == 3:
			r.rule, r.term, r.in = filter, term, rest[2]
		case term != "": // a word alone could be an interface, which has no '/'
			r.rule, r.term = filter, term
		}
		return
	case "close": // REASON ELAPSED PACKETS/PACKETSp BYTES/BYTESB POLICY
		at := slices.IndexFunc(rest, func(word string) bool { return strings.HasSuffix(word, "p") && strings.Contains(word, "/") })
		if at < 0 || len(rest) < at+2 {
			return
		}
		rest = rest[at+2:]
	}
	if word := first(rest); word != "" && !strings.Contains(word, ">") { // POLICY FROM>TO
		if len(rest) > 1 && (word == "snat" || word == "dnat") {
			if addr, _ := splitEnd(rest[1]); addr != "" {
				return // there is no policy
			}
		}
		r.rule, rest = word, rest[1:]
	}
	if from, to, ok := strings.Cut(first(rest), ">"); ok {
		r.from, r.to = from, to
	}
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// predefined are the applications that records name. Nobody changes them.
var predefined = sync.OnceValue(application.Predefined)

// byApplication finds the protocol of a record that names an application instead. Only those that are predefined are named in records. Of one
// that has the same port in two protocols, such as junos-sip, it takes the first.
func (r *record) byApplication(name string) {
	table := predefined()
	if "junos-"+table.Names()[application.ICMPv6] == name {
		r.proto = strconv.Itoa(packet.ProtoICMPv6)
		return
	}
	terms, _ := table.Resolve(name)
	if i := slices.IndexFunc(terms, func(t application.Term) bool { return r.fits(&t) }); i >= 0 {
		r.proto = strconv.Itoa(int(terms[i].Proto))
	}
}

// fits reports whether the record can be of an application's term.
func (r *record) fits(t *application.Term) bool {
	if packet.IsICMP(t.Proto) {
		addr, err := netip.ParseAddr(r.dst)
		return r.dstPort == "" && err == nil && addr.Is6() == (t.Proto == packet.ProtoICMPv6)
	}
	if !hasPorts(t.Proto) {
		return r.dstPort == ""
	}
	return contains(t.Src, r.srcPort) && contains(t.Dst, r.dstPort)
}

func contains(ports application.Range, text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && ports.Contains(uint16(n))
}

func hasPorts(proto uint8) bool {
	return proto == packet.ProtoTCP || proto == packet.ProtoUDP || proto == packet.ProtoSCTP
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 8)
	return err == nil
}
