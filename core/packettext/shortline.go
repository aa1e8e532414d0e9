package packettext

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
)

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

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 8)
	return err == nil
}
