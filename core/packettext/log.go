package packettext

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
)

// ErrNoRecord is the error of [ParseLog] for a line that does not tell enough of a packet: another program's, a record of lost events,
// and that of a screen, which looks at flags, options and rates: see [ParseScreen].
var ErrNoRecord = errors.New("no record of a session, of a denial or of a filter")

// sourceAddress begins the value that structured data of every record has once: in values a quotation mark is escaped.
const sourceAddress = ` source-address="`

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
			if err := onlyRecord(line); err != nil {
				return nil, err
			}
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

// onlyRecord returns an error for a line that holds a part of a record, or more than one.
func onlyRecord(line string) error {
	for _, mark := range []string{sourceAddress, ": session ", ": FW: "} {
		if strings.Count(line, mark) > 1 {
			return errors.New("more than one record in a line")
		}
	}
	before, data, found := strings.Cut(line, sourceAddress)
	if found && strings.LastIndexByte(before, '[') > strings.LastIndexByte(before, ']') && !strings.Contains(data, `"]`) {
		return errors.New("the record is cut off")
	}
	return nil
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

func hasPorts(proto uint8) bool {
	return proto == packet.ProtoTCP || proto == packet.ProtoUDP || proto == packet.ProtoSCTP
}
