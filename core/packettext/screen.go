package packettext

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// Screen is what the record of a screen tells.
type Screen struct {
	Screen event.Screen
	Attack string // its name in the record: "TCP port scan!"
	// Packet is the packet that the record tells of. What the screen looks for in it, such as flags and options, is not in the record
	// and put in. nil: the record has one address alone.
	Packet *Packet
	Alone  string // that address
	From   string // zone that the packet comes from, "" = not said
	// Counts says that the screen counts packets: one alone does not make it fire.
	Counts bool
}

// signs are what screens look for in one packet, in the words of the language.
var signs = map[event.Screen]string{
	event.ScreenSYNFIN: "flags syn,fin", event.ScreenNoFlag: "flags none", event.ScreenFINNoACK: "flags fin", event.ScreenWinNuke: "flags psh,ack,urg",
	event.ScreenSYNFrag: "flags syn fragment 0+", event.ScreenLand: "", event.ScreenUnknownProtocol: "", event.ScreenBlockFrag: "fragment 0+",
	event.ScreenICMPFragment: "fragment 0+", event.ScreenICMPLarge: "length 1500", event.ScreenPingDeath: "fragment 65528 length 100",
	event.ScreenBadOption: "option bad", event.ScreenRecordRoute: "option record-route", event.ScreenTimestamp: "option timestamp",
	event.ScreenSecurity: "option security", event.ScreenStream: "option stream", event.ScreenSourceRoute: "option loose-source-route",
	event.ScreenLooseSourceRoute: "option loose-source-route", event.ScreenStrictSourceRoute: "option strict-source-route",
}

// protocols are those of the screens that look at one alone.
var protocols = map[event.Screen]uint8{
	event.ScreenSYNFlood: packet.ProtoTCP, event.ScreenSYNFloodSrc: packet.ProtoTCP, event.ScreenSYNFloodDst: packet.ProtoTCP, event.ScreenSYNCookie: packet.ProtoTCP,
	event.ScreenPortScan: packet.ProtoTCP, event.ScreenTCPSweep: packet.ProtoTCP, event.ScreenSYNFIN: packet.ProtoTCP, event.ScreenNoFlag: packet.ProtoTCP,
	event.ScreenFINNoACK: packet.ProtoTCP, event.ScreenWinNuke: packet.ProtoTCP, event.ScreenSYNFrag: packet.ProtoTCP,
	event.ScreenUDPFlood: packet.ProtoUDP, event.ScreenUDPSweep: packet.ProtoUDP, event.ScreenUDPPortScan: packet.ProtoUDP,
	event.ScreenICMPFlood: packet.ProtoICMP, event.ScreenIPSweep: packet.ProtoICMP, event.ScreenICMPFragment: packet.ProtoICMP,
	event.ScreenICMPLarge: packet.ProtoICMP, event.ScreenPingDeath: packet.ProtoICMP,
}

// ParseScreen reads a line of a log in which a screen tells of a packet, in any format that a sink writes. The error is [ErrNoRecord] for
// any other line, and says what is wrong with the record otherwise.
func ParseScreen(line string) (*Screen, error) {
	line = withoutColour(line)
	for _, read := range []func(line string) (screenRecord, bool){screenStructured, screenJSON, screenText, screenShort} {
		if r, ok := read(line); ok {
			return r.screen()
		}
	}
	return nil, ErrNoRecord
}

// screenRecord is what such a line says.
type screenRecord struct {
	record
	tag, attack string
}

func (r *screenRecord) screen() (*Screen, error) {
	known, ok := format.ScreenOf(r.tag, r.attack)
	if !ok {
		return nil, fmt.Errorf("the record is of a screen that is not known: %q", r.attack)
	}
	words, single := signs[known]
	s := &Screen{Screen: known, Attack: r.attack, Counts: !single, From: named(r.from)}
	if r.src == "" || r.dst == "" {
		if s.Alone = r.src + r.dst; s.Alone == "" {
			return nil, fmt.Errorf("the record of the screen %s has no address", known)
		}
		return s, nil
	}
	proto, ok := protocols[known]
	if !ok && r.proto == "" {
		proto, ok = map[string]uint8{"RT_SCREEN_TCP": packet.ProtoTCP, "RT_SCREEN_UDP": packet.ProtoUDP, "RT_SCREEN_ICMP": packet.ProtoICMP}[r.tag]
	}
	if ok {
		if src, err := netip.ParseAddr(r.src); err == nil && src.Is6() && proto == packet.ProtoICMP {
			proto = packet.ProtoICMPv6
		}
		r.proto = strconv.Itoa(int(proto))
	}
	for _, port := range []*string{&r.srcPort, &r.dstPort} {
		if *port == "" {
			*port = "0" // the record has none
		}
	}
	text, err := r.text()
	if err == nil {
		s.Packet, err = Parse(strings.TrimSuffix(text+" "+words, " "))
	}
	if err != nil {
		return nil, fmt.Errorf("the record of the screen %s: %w", known, err)
	}
	return s, nil
}

// screenStructured reads the structured data of RFC 5424.
func screenStructured(line string) (r screenRecord, ok bool) {
	if r.attack = parameter(line, "attack-name"); r.attack == "" {
		return r, false
	}
	r.tag = screenTag(line)
	r.record = record{
		src: parameter(line, "source-address"), dst: parameter(line, "destination-address"), srcPort: parameter(line, "source-port"),
		dstPort: parameter(line, "destination-port"), proto: parameter(line, "protocol-id"), in: parameter(line, "interface-name"),
		from: parameter(line, "source-zone-name"),
	}
	return r, true
}

// screenTag returns the word of a line that begins as the message of a screen does.
func screenTag(line string) string {
	at := strings.Index(line, "RT_SCREEN_")
	if at < 0 {
		return ""
	}
	tag := line[at:]
	if end := strings.IndexAny(tag, ` :"`); end >= 0 {
		tag = tag[:end]
	}
	return tag
}

// screenJSON reads a JSON object, also behind a header of syslog.
func screenJSON(line string) (r screenRecord, ok bool) {
	at := strings.IndexByte(line, '{')
	if at < 0 {
		return r, false
	}
	var v struct {
		flowJSON
		Juniper struct {
			SRX struct {
				Tag    string `json:"tag"`
				Attack string `json:"attack_name"`
			} `json:"srx"`
		} `json:"juniper"`
	}
	if json.Unmarshal([]byte(line[at:]), &v) != nil || v.Juniper.SRX.Attack == "" {
		return r, false
	}
	return screenRecord{record: v.record(), tag: v.Juniper.SRX.Tag, attack: v.Juniper.SRX.Attack}, true
}

// screenText reads a record without structured data: "RT_SCREEN_TCP: SYN flood! source: A:P, destination: B:P, zone name: Z, interface
// name: I, action: drop".
func screenText(line string) (r screenRecord, ok bool) {
	r.tag = screenTag(line)
	_, rest, ok := strings.Cut(line, r.tag+": ")
	if !ok || r.tag == "" {
		return r, false
	}
	at := strings.Index(rest, "source: ")
	if at < 0 {
		at = strings.Index(rest, "destination: ")
	}
	if at < 0 {
		return r, false
	}
	r.attack = strings.TrimSpace(rest[:at])
	for part := range strings.SplitSeq(rest[at:], ", ") {
		name, value, _ := strings.Cut(part, ": ")
		switch name {
		case "source":
			r.src, r.srcPort = splitEnd(value)
		case "destination":
			r.dst, r.dstPort = splitEnd(value)
		case "protocol-id":
			r.proto = value
		case "zone name":
			r.from = value
		case "interface name":
			r.in = value
		}
	}
	return r, true
}

// screenShort reads the line for people: "10:15:22.000 screen A:P > B:P udp UDP flood! FROM>". An end that was not told is "*".
func screenShort(line string) (r screenRecord, ok bool) {
	words := strings.Fields(line)
	if len(words) < 7 || words[3] != ">" || words[1] != "screen" && words[1] != "alarm" {
		return r, false
	}
	r.src, r.srcPort = splitEnd(words[2])
	r.dst, r.dstPort = splitEnd(words[4])
	r.proto = strings.TrimPrefix(words[5], "ip-")
	if _, known := application.ParseProtocol(r.proto); !known {
		return r, false
	}
	var zone string
	r.attack, zone, ok = strings.Cut(strings.Join(words[6:], " "), "!")
	if from, isZone := strings.CutSuffix(strings.TrimSpace(zone), ">"); isZone {
		r.from = from
	}
	r.attack += "!"
	return r, ok
}
